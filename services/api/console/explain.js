// The form that creates a job: the model and method, and the rows.

import { getJson, send } from "./api.js";
import { makeChoices } from "./choices.js";
import { button, card, el, field, replace, table } from "./elements.js";
import { announce, problemBox } from "./messages.js";
import { csvLine, EXTENSIONS, fromExamples, fromFile, fromText } from "./rows.js";

const HINT =
  "The first line holds the feature names, in any order. Write categories as labels, and leave the cell of a missing value empty. NDJSON and NPY files work too.";

export function explain() {
  const place = el("div");
  const show = ({ models }) => replace(place, form(models));
  getJson("v1/models").then(show, (error) => replace(place, problemBox(error)));
  return card("explain", "Explain rows", null, place);
}

function form(models) {
  const choices = makeChoices(models, onModel);
  const place = el("div");
  const problem = el("div");
  const useExamples = button(".main", "Use example rows", () => take(() => fromExamples(choices.name())));
  let source = null;

  const showProblem = (error) => replace(problem, problemBox(error));

  function onModel() {
    // Other rows may suit another model as well; examples do not.
    if (source?.examples) askForRows();
    useExamples.hidden = !choices.chosen()?.contract.examples;
  }

  function askForRows() {
    source = null;
    replace(problem);
    const onchange = () => file.files[0] && take(() => fromFile(file.files[0]));
    const file = el("input#file.unseen", { type: "file", accept: EXTENSIONS.join(), onchange });
    const choose = el("label.button", file, "Choose a file");
    const paste = button("", "Paste rows", askForText);
    const buttons = el("div.buttons", choose, paste, useExamples);
    const zone = el("div.drop", el("strong", "Drop a CSV file here"), el("p.soft", HINT), buttons);
    for (const type of ["dragover", "dragleave", "drop"])
      zone.addEventListener(type, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", type === "dragover");
      });
    zone.addEventListener(
      "drop",
      ({ dataTransfer: { files } }) => files[0] && take(() => fromFile(files[0])),
    );
    replace(place, zone);
  }

  function askForText() {
    replace(problem);
    const placeholder = csvLine(choices.chosen()?.features ?? []);
    const text = el("textarea#pasted", { spellcheck: "false", placeholder });
    const use = button(".main", "Use these rows", () => take(() => fromText(text.value)));
    const rows = field("Rows as CSV, with a header", "pasted", text);
    replace(place, el("div.chosen.stack", rows, el("div.buttons", use, otherRows())));
    text.focus();
  }

  function otherRows() {
    return button(".quiet", "Choose other rows", () => {
      askForRows();
      place.querySelector("input").focus();
    });
  }

  async function take(make) {
    replace(problem);
    try {
      source = await make();
    } catch (error) {
      showProblem(error);
      return;
    }
    const { title, about, lines } = source;
    const progress = el("progress", { max: 1, "aria-label": "Upload", hidden: true });
    const go = button(".main", "Explain", () => sendRows(go, progress));
    const what = el("p.line", el("strong", title), el("span.soft", about));
    const [header, ...rows] = lines;
    const preview = header && table(".preview", "First rows", header, rows);
    const buttons = el("div.buttons", go, otherRows());
    replace(place, el("div.chosen.stack", what, preview, progress, buttons));
    go.focus();
    announce(`${title}, ${about}. Ready to explain.`);
  }

  async function sendRows(go, progress) {
    replace(problem);
    go.disabled = true;
    progress.hidden = false;
    const query = new URLSearchParams({ model: choices.name(), method: choices.method() });
    const advance = (share) => {
      progress.value = share;
    };
    try {
      const job = await send(`v1/jobs?${query}`, source.body, source.mediaType, advance);
      askForRows();
      location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      showProblem(error);
      go.disabled = false;
      progress.hidden = true;
    }
  }

  function onpaste(event) {
    const text = event.clipboardData.getData("text");
    if (text && !event.target.matches("textarea, input")) take(() => fromText(text));
  }

  askForRows();
  onModel();
  return el("div.stack", { onpaste }, choices.element, place, problem);
}
