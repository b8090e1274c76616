// Chooses one row by its number, from 0.

import { el } from "/console/elements.js";
import { count } from "/console/figures.js";

// Milliseconds without a further keystroke after which a number counts as chosen.
const PAUSE = 300;

export class RowChooser {
  #rows;
  #onChange;
  #input;
  #timer = null;
  #value = 0;

  constructor(rows, onChange) {
    this.#rows = rows;
    this.#onChange = onChange;
    this.#input = el("input", {
      type: "number",
      id: "row",
      min: "0",
      max: String(rows - 1),
      step: "1",
      value: "0",
      inputmode: "numeric",
      oninput: () => this.#later(),
    });
    const label = `Row, 0 to ${count(rows - 1)}`;
    const before = el(
      "button",
      { type: "button", "aria-label": "The row before", onclick: () => this.#choose(this.#value - 1) },
      "‹",
    );
    const after = el(
      "button",
      { type: "button", "aria-label": "The next row", onclick: () => this.#choose(this.#value + 1) },
      "›",
    );
    this.element = el(
      "div",
      { class: "field" },
      el("label", { for: "row" }, label),
      el("div", { class: "row-chooser" }, before, this.#input, after),
    );
  }

  get value() {
    return this.#value;
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#choose(Math.floor(this.#input.valueAsNumber), false), PAUSE);
  }

  #choose(row, write = true) {
    if (Number.isNaN(row)) return;
    const fits = Math.min(this.#rows - 1, Math.max(0, row));
    if (write || fits !== row) this.#input.value = String(fits);
    if (fits === this.#value) return;
    this.#value = fits;
    this.#onChange();
  }
}
