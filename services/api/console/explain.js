// The form that creates a job: the model and method, and the rows.

import { send } from "/console/api.js";
import { Choices } from "/console/choices.js";
import { button, card, el, field, replace } from "/console/elements.js";
import { announce, problemBox } from "/console/messages.js";
import { csvLine, EXTENSIONS, fromExamples, fromFile, fromText, preview } from "/console/rows.js";

const HINT =
  "The first line holds the feature names, in any order. Write categories as labels, and leave the cell of a missing value empty. NDJSON and NPY files work too.";

export class Explain {
  #choices = new Choices(() => this.#onModel());
  #place = el("div");
  #problem = el("div", { hidden: true });
  #useExamples = button(
    ".main",
    "Use example rows",
    () => this.#take(() => fromExamples(this.#choices.model)),
    { hidden: true },
  );
  #source = null;

  constructor() {
    const form = el("div.explain-form", this.#choices.element, this.#place, this.#problem);
    this.element = card("explain", "Explain rows", null, form);
    this.element.addEventListener("paste", (event) => this.#onPaste(event));
    this.#askForRows();
    this.#choices.load().then(
      () => this.#onModel(),
      (error) => this.#showProblem(error),
    );
  }

  #onModel() {
    // Other rows may suit another model as well; examples do not.
    if (this.#source?.examples) this.#askForRows();
    this.#useExamples.hidden = !this.#choices.hasExamples;
  }

  #askForRows() {
    this.#source = null;
    const takeFile = () => file.files[0] && this.#take(() => fromFile(file.files[0]));
    const file = el("input#file", { type: "file", accept: EXTENSIONS.join(), onchange: takeFile });
    const zone = el(
      "div.drop",
      el("strong", "Drop a CSV file here"),
      el("p.soft", HINT),
      el(
        "div.buttons",
        el("span", file, el("label.button", { for: "file" }, "Choose a file")),
        button("", "Paste rows", () => this.#askForText()),
        this.#useExamples,
      ),
    );
    const hover = (over) => (event) => {
      event.preventDefault();
      zone.classList.toggle("over", over);
    };
    zone.addEventListener("dragover", hover(true));
    zone.addEventListener("dragleave", hover(false));
    zone.addEventListener("drop", (event) => {
      hover(false)(event);
      const dropped = event.dataTransfer.files[0];
      if (dropped) this.#take(() => fromFile(dropped));
    });
    replace(this.#place, zone);
  }

  #askForText() {
    this.#problem.hidden = true;
    const placeholder = csvLine(this.#choices.features);
    const text = el("textarea#pasted", { spellcheck: "false", placeholder });
    const onsubmit = (event) => {
      event.preventDefault();
      this.#take(() => fromText(text.value));
    };
    const buttons = el("div.buttons", el("button.main", "Use these rows"), this.#otherRows());
    const form = el(
      "form.chosen",
      { onsubmit },
      field("Rows as CSV, with a header", "pasted", text),
      buttons,
    );
    replace(this.#place, form);
    text.focus();
  }

  #otherRows() {
    return button(".quiet", "Choose other rows", () => {
      this.#problem.hidden = true;
      this.#askForRows();
      this.#place.querySelector("input").focus();
    });
  }

  async #take(make) {
    this.#problem.hidden = true;
    try {
      this.#source = await make();
    } catch (error) {
      this.#showProblem(error);
      return;
    }
    const { title, about, lines } = this.#source;
    const progress = el("progress", { max: "1", "aria-label": "Upload", hidden: true });
    const go = button(".main", "Explain", () => this.#send(go, progress));
    const what = el("p.line", el("strong", title), el("span.soft", about));
    const buttons = el("div.buttons", go, this.#otherRows());
    replace(this.#place, el("div.chosen", what, lines.length > 0 && preview(lines), progress, buttons));
    go.focus();
    announce(`${title}, ${about}. Ready to explain.`);
  }

  async #send(go, progress) {
    this.#problem.hidden = true;
    go.disabled = true;
    progress.hidden = false;
    const { model, method } = this.#choices;
    const query = new URLSearchParams({ model, method });
    const advance = (share) => {
      progress.value = share;
    };
    try {
      const job = await send(`/v1/jobs?${query}`, this.#source.body, this.#source.mediaType, advance);
      this.#askForRows();
      location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      this.#showProblem(error);
      go.disabled = false;
      progress.hidden = true;
    }
  }

  #onPaste(event) {
    if (event.target.matches("textarea, input")) return;
    const text = event.clipboardData.getData("text");
    if (text) this.#take(() => fromText(text));
  }

  #showProblem(error) {
    replace(this.#problem, problemBox(error));
    this.#problem.hidden = false;
  }
}
