// One plot of a job, drawn by the appliance, and buttons that save files of a job.

import { call } from "./api.js";
import { button, el, replace, setText } from "./elements.js";
import { problemBox } from "./messages.js";

// Seconds until a plot, and a file to save, is given up: a large job on a busy machine takes long.
const PLOT_TIMEOUT = 60;
const FILE_TIMEOUT = 600;
// The elements of a plot that are shown. Others could act, or load something.
const SHAPES = new Set(
  "svg g defs title desc rect path circle ellipse line polyline polygon text tspan clipPath linearGradient stop image use marker".split(
    " ",
  ),
);

export function makePlot(job, { kind, title, about, chooser }) {
  const canvas = el("div.canvas", { tabindex: 0, role: "group", "aria-label": title });
  let options = {};
  let asked = 0;

  const path = (kind) => `${job.links.self}/plots/${kind}?${new URLSearchParams(options)}`;

  // Buttons that save this plot, or another kind of plot of the same output.
  function saveButtons(kind) {
    const save = (label, accept) =>
      saveButton(job, label, `Save ${kind} plot as ${label}`, {
        accept,
        path: () => path(kind),
        end: `-${kind}`,
        onError: (error) => replace(canvas, problemBox(error)),
      });
    return el("p.buttons.save", el("small", "Save"), save("SVG", "image/svg+xml"), save("PNG", "image/png"));
  }

  async function draw(given) {
    options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
    asked += 1;
    const mine = asked;
    canvas.classList.add("drawing");
    let shown;
    try {
      const response = await call(path(kind), { accept: "image/svg+xml", seconds: PLOT_TIMEOUT });
      shown = adoptDrawing(await response.text());
    } catch (error) {
      shown = problemBox(error);
    }
    if (mine !== asked) return;
    replace(canvas, shown);
    canvas.classList.remove("drawing");
  }

  const id = `plot-${kind}`;
  const rail = el("div.rail", el(`h2#${id}`, title), saveButtons(kind), el("p.soft", about), chooser);
  return { element: el("section.plot", { "aria-labelledby": id }, rail, canvas), draw, saveButtons };
}

// A button that saves a file of the appliance. It fetches the file, since a link would not send the key.
export function saveButton(job, label, name, { accept, path, end = "", onError }) {
  const self = button(".small", label, save, { "aria-label": name });
  async function save() {
    self.disabled = true;
    setText(self, "Saving…");
    try {
      const blob = await (await call(path(), { accept, seconds: FILE_TIMEOUT })).blob();
      const href = URL.createObjectURL(blob);
      el("a", { href, download: `shap-${job.id}${end}.${label.toLowerCase()}` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 60_000);
    } catch (error) {
      onError(error);
    }
    setText(self, label);
    self.disabled = false;
  }
  return self;
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
