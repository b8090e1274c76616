// One plot of a job, drawn by the appliance: shown in the page, and to be saved as SVG or PNG.

import { call } from "/console/api.js";
import { downloadButton } from "/console/downloads.js";
import { adoptDrawing } from "/console/drawing.js";
import { el, replace } from "/console/elements.js";
import { problemBox } from "/console/problem.js";

// Seconds for a plot of a large job on a busy machine.
const PATIENCE = 60;

export class Plot {
  #job;
  #kind;
  #options = {};
  #canvas;
  #asked = 0;

  constructor(job, { kind, title, about, chooser }) {
    this.#job = job;
    this.#kind = kind;
    this.#canvas = el("div", { class: "canvas", tabindex: "0", role: "group", "aria-label": title });
    this.element = el(
      "section",
      { class: "plot", "aria-labelledby": `plot-${kind}` },
      el(
        "div",
        { class: "rail" },
        el("h2", { id: `plot-${kind}` }, title),
        el("p", { class: "about" }, about),
        chooser,
        this.saveButtons(kind, title),
      ),
      this.#canvas,
    );
  }

  // Buttons that save this plot, or another kind of plot of the same output.
  saveButtons(kind, title) {
    const one = (label, accept, ending) =>
      downloadButton({
        label,
        accept,
        name: `Save ${title} as ${label}`,
        path: () => this.#path(kind),
        file: () => `shap-${this.#job.id}-${kind}.${ending}`,
        onError: (error) => replace(this.#canvas, problemBox(error)),
      });
    return el(
      "p",
      { class: "buttons save" },
      el("small", {}, "Save"),
      one("SVG", "image/svg+xml", "svg"),
      one("PNG", "image/png", "png"),
    );
  }

  async draw(options) {
    this.#options = options;
    const asked = (this.#asked += 1);
    this.#canvas.classList.add("drawing");
    if (!this.#canvas.firstElementChild)
      replace(this.#canvas, el("p", { class: "drawing-note" }, "Drawing…"));
    try {
      const answer = await call(this.#path(this.#kind), { accept: "image/svg+xml", seconds: PATIENCE });
      const drawing = adoptDrawing(await answer.text());
      if (asked === this.#asked) replace(this.#canvas, drawing);
    } catch (error) {
      if (asked === this.#asked) replace(this.#canvas, problemBox(error));
    }
    if (asked === this.#asked) this.#canvas.classList.remove("drawing");
  }

  #path(kind) {
    const query = new URLSearchParams(
      Object.entries(this.#options).filter(([, value]) => value !== null && value !== undefined),
    );
    return `${this.#job.links.self}/plots/${kind}?${query}`;
  }
}
