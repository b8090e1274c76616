// Chooses one row by its number, counted from 0.

import { button, el, field } from "/console/elements.js";
import { count } from "/console/figures.js";

// Milliseconds after the last keystroke until a number counts as chosen.
const PAUSE = 300;

export class RowChooser {
  value = 0;
  #rows;
  #onChange;
  #input;
  #timer = null;

  constructor(rows, onChange) {
    this.#rows = rows;
    this.#onChange = onChange;
    const oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#choose(Math.floor(this.#input.valueAsNumber), false), PAUSE);
    };
    const bounds = { min: 0, max: rows - 1, step: 1, value: 0 };
    this.#input = el("input#row", { type: "number", ...bounds, inputmode: "numeric", oninput });
    const step = (by, sign, name) =>
      button("", sign, () => this.#choose(this.value + by), { "aria-label": name });
    const chooser = [step(-1, "‹", "Previous row"), this.#input, step(1, "›", "Next row")];
    this.element = field(`Row, 0 to ${count(rows - 1)}`, "row", el("div.row-chooser", chooser));
  }

  #choose(row, write = true) {
    if (Number.isNaN(row)) return;
    const fits = Math.min(this.#rows - 1, Math.max(0, row));
    if (write || fits !== row) this.#input.value = String(fits);
    if (fits === this.value) return;
    this.value = fits;
    this.#onChange();
  }
}
