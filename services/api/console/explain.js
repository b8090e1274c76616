// The form that makes a job: what rows are explained with, and the rows.

import { send } from "/console/api.js";
import { announce } from "/console/announce.js";
import { Choices } from "/console/choices.js";
import { line } from "/console/csv.js";
import { el, replace } from "/console/elements.js";
import { preview } from "/console/preview.js";
import { problemBox } from "/console/problem.js";
import { ENDINGS, fromExamples, fromFile, fromText } from "/console/source.js";

const HINT =
  "A header with the features' names in any order, categories by their labels; an empty cell is missing. NDJSON and NPY work as well.";

export class Explain {
  #choices = new Choices(() => this.#heedModel());
  #place = el("div");
  #problem = el("div", { hidden: true });
  #useExamples = el(
    "button",
    { type: "button", class: "main", hidden: true, onclick: () => this.#takeExamples() },
    "Use example rows",
  );
  #source = null;

  constructor() {
    const head = el("div", { class: "card-head" }, el("h2", { id: "explain" }, "Explain rows"));
    const form = el("div", { class: "explain-form" }, this.#choices.element, this.#place, this.#problem);
    this.element = el("section", { class: "card", "aria-labelledby": "explain" }, head, form);
    this.element.addEventListener("paste", (event) => this.#heedPaste(event));
    this.#askForRows();
    this.#choices.load().then(
      () => this.#heedModel(),
      (error) => this.#complain(error),
    );
  }

  #heedModel() {
    // Other rows may be fine with another model; its examples are not.
    if (this.#source?.examples) this.#askForRows();
    this.#useExamples.hidden = !this.#choices.hasExamples;
  }

  #takeExamples() {
    this.#take(() => fromExamples(this.#choices.model));
  }

  #askForRows() {
    this.#source = null;
    const file = el("input", { type: "file", id: "file", accept: ENDINGS });
    file.addEventListener("change", () => file.files[0] && this.#take(() => fromFile(file.files[0])));
    const buttons = [
      el("span", {}, file, el("label", { class: "as-button", for: "file" }, "Choose a file")),
      el("button", { type: "button", onclick: () => this.#askForText() }, "Paste rows"),
      this.#useExamples,
    ];
    const words = [el("strong", {}, "Drop a CSV file here"), el("p", { class: "soft" }, HINT)];
    const zone = el("div", { class: "drop" }, words, el("div", { class: "buttons" }, buttons));
    this.#takeDrops(zone);
    replace(this.#place, zone);
  }

  #takeDrops(zone) {
    const hover = (over) => (event) => {
      event.preventDefault();
      zone.classList.toggle("over", over);
    };
    zone.addEventListener("dragover", hover(true));
    zone.addEventListener("dragleave", hover(false));
    zone.addEventListener("drop", (event) => {
      hover(false)(event);
      const file = event.dataTransfer.files[0];
      if (file) this.#take(() => fromFile(file));
    });
  }

  #askForText() {
    this.#calm();
    const placeholder = line(this.#choices.features);
    const text = el("textarea", { id: "pasted", spellcheck: "false", placeholder });
    const field = el(
      "div",
      { class: "field" },
      el("label", { for: "pasted" }, "Rows as CSV, with a header"),
      text,
    );
    const use = el("button", { type: "submit", class: "main" }, "Use these rows");
    const form = el(
      "form",
      { class: "chosen" },
      field,
      el("div", { class: "buttons" }, use, this.#otherRows()),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take(async () => fromText(text.value));
    });
    replace(this.#place, form);
    text.focus();
  }

  #otherRows() {
    const restart = () => {
      this.#calm();
      this.#askForRows();
      this.#place.querySelector("input").focus();
    };
    return el("button", { type: "button", class: "quiet", onclick: restart }, "Other rows");
  }

  async #take(make) {
    this.#calm();
    try {
      this.#source = await make();
    } catch (error) {
      this.#complain(error);
      return;
    }
    this.#showSource(this.#source);
  }

  #showSource({ title, about, lines }) {
    const progress = el("progress", { max: "1", "aria-label": "Sending", hidden: true });
    const go = el("button", { type: "button", class: "main" }, "Explain");
    go.addEventListener("click", () => this.#send(go, progress));
    const what = el("p", { class: "what" }, el("strong", {}, title), el("span", { class: "soft" }, about));
    const buttons = el("div", { class: "send" }, go, this.#otherRows());
    replace(
      this.#place,
      el("div", { class: "chosen" }, what, lines.length > 0 && preview(lines), progress, buttons),
    );
    go.focus();
    announce(`${title}, ${about}. Ready to explain.`);
  }

  async #send(button, progress) {
    this.#calm();
    button.disabled = true;
    progress.hidden = false;
    const query = new URLSearchParams({ model: this.#choices.model, method: this.#choices.method });
    const advance = (share) => {
      progress.value = share;
    };
    try {
      const job = await send(`/v1/jobs?${query}`, this.#source.body, this.#source.mediaType, advance);
      this.#askForRows();
      location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      this.#complain(error);
      button.disabled = false;
      progress.hidden = true;
    }
  }

  #heedPaste(event) {
    if (event.target.matches("textarea, input")) return;
    const text = event.clipboardData.getData("text");
    if (text) this.#take(async () => fromText(text));
  }

  #calm() {
    this.#problem.hidden = true;
  }

  #complain(error) {
    replace(this.#problem, problemBox(error));
    this.#problem.hidden = false;
  }
}
