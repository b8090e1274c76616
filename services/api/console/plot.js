// One plot of a job, drawn by the appliance, and buttons that save files of a job.

import { call } from "/console/api.js";
import { button, el, replace, setText } from "/console/elements.js";
import { problemBox } from "/console/messages.js";

// Seconds until a plot, and a file to save, is given up: a large job on a busy machine takes long.
const PLOT_TIMEOUT = 60;
const FILE_TIMEOUT = 600;
// The elements of a plot that are shown. Others could act, or load something.
const SHAPES = new Set(
  "svg g defs title desc rect path circle ellipse line polyline polygon text tspan clipPath linearGradient stop image use marker".split(
    " ",
  ),
);

export class Plot {
  #job;
  #kind;
  #options = {};
  #canvas;
  #asked = 0;

  constructor(job, { kind, title, about, chooser }) {
    this.#job = job;
    this.#kind = kind;
    this.#canvas = el("div.canvas", { tabindex: "0", role: "group", "aria-label": title });
    const id = `plot-${kind}`;
    const rail = el("div.rail", el(`h2#${id}`, title), el("p.about", about), chooser, this.saveButtons(kind));
    this.element = el("section.plot", { "aria-labelledby": id }, rail, this.#canvas);
  }

  // Buttons that save this plot, or another kind of plot of the same output.
  saveButtons(kind) {
    const save = (label, accept) =>
      saveButton({
        label,
        name: `Save ${kind} plot as ${label}`,
        accept,
        path: () => this.#path(kind),
        file: `shap-${this.#job.id}-${kind}.${label.toLowerCase()}`,
        onError: (error) => replace(this.#canvas, problemBox(error)),
      });
    return el("p.buttons.save", el("small", "Save"), save("SVG", "image/svg+xml"), save("PNG", "image/png"));
  }

  async draw(options) {
    this.#options = options;
    this.#asked += 1;
    const asked = this.#asked;
    this.#canvas.classList.add("drawing");
    if (!this.#canvas.firstElementChild) replace(this.#canvas, el("p.drawing-note", "Drawing…"));
    let shown;
    try {
      const response = await call(this.#path(this.#kind), { accept: "image/svg+xml", seconds: PLOT_TIMEOUT });
      shown = adoptDrawing(await response.text());
    } catch (error) {
      shown = problemBox(error);
    }
    if (asked !== this.#asked) return;
    replace(this.#canvas, shown);
    this.#canvas.classList.remove("drawing");
  }

  #path(kind) {
    const given = Object.entries(this.#options).filter(([, value]) => value !== null);
    return `${this.#job.links.self}/plots/${kind}?${new URLSearchParams(given)}`;
  }
}

// A button that saves a file of the appliance. It fetches the file, since a link would not send the key.
export function saveButton({ label, name, accept, path, file, onError }) {
  const save = async () => {
    self.disabled = true;
    setText(self, "Saving…");
    try {
      offer(await (await call(path(), { accept, seconds: FILE_TIMEOUT })).blob(), file);
    } catch (error) {
      onError(error);
    }
    setText(self, label);
    self.disabled = false;
  };
  const self = button(".small", label, save, { "aria-label": name });
  return self;
}

function offer(blob, file) {
  const href = URL.createObjectURL(blob);
  el("a", { href, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

function adoptDrawing(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  const root = parsed.documentElement;
  if (root.localName !== "svg" || parsed.querySelector("parsererror"))
    throw new Error("The plot cannot be displayed: it is not valid SVG.");
  for (const element of [root, ...root.querySelectorAll("*")]) {
    if (!SHAPES.has(element.localName)) element.remove();
    for (const { name, value } of [...element.attributes]) {
      const leads = name.endsWith("href") && !/^(#|data:image\/png;)/.test(value);
      if (name.startsWith("on") || name === "style" || leads) element.removeAttribute(name);
    }
  }
  return document.adoptNode(root);
}
