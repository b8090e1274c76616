// The result of a completed job: ranked features, three plots, and the values as files.

import { getJson } from "./api.js";
import { button, el, field, replace, segments, setText } from "./elements.js";
import { featureTable } from "./features.js";
import { count, value } from "./figures.js";
import { problemBox } from "./messages.js";
import { makePlot, saveButton } from "./plot.js";

const FORMATS = { CSV: "text/csv", NPY: "application/x-npy", JSON: "application/json" };
// Lines of a plot that has one for each feature.
const LINES = 12;
// Seconds for the summary of a large job on a busy machine.
const TIMEOUT = 60;
// Milliseconds after the last keystroke until a row's number counts as chosen.
const PAUSE = 300;

// Returns an element, which shows the result as soon as it is loaded.
export function answer(job) {
  const element = el("div", el("p.note", { role: "status" }, "Loading the result…"));
  getJson(`${job.links.self}/summary`, { seconds: TIMEOUT }).then(
    ({ outputs }) => replace(element, resultView(job, outputs)),
    (error) => replace(element, problemBox(error)),
  );
  return element;
}

function resultView(job, outputs) {
  const base = el("span.soft");
  const table = featureTable(chooseFeature);
  const feature = el("select#feature", { onchange: drawDependence });
  const row = rowChooser(job.rows, drawWaterfall);
  const beeswarm = makePlot(job, {
    kind: "beeswarm",
    title: "All rows",
    about: "One dot for each row: its position is the SHAP value, its colour the feature's value.",
  });
  const waterfall = makePlot(job, {
    kind: "waterfall",
    title: "One row",
    about: "How the SHAP values lead from the base value to the row's margin.",
    chooser: row.element,
  });
  const dependence = makePlot(job, {
    kind: "dependence",
    title: "One feature",
    about: "The feature's SHAP value against its value, one dot for each row.",
    chooser: field("Feature", "feature", feature),
  });
  let output = null;

  function show(place) {
    const { output: name, features, base_value: baseValue } = outputs[place];
    output = outputs.length > 1 ? name : null;
    setText(base, `base value ${value(baseValue)}`);
    table.show(features);
    const chosen = feature.value || features[0].feature;
    replace(
      feature,
      features.map(({ feature: name }) => el("option", name)),
    );
    feature.value = chosen;
    beeswarm.draw({ output, max_display: LINES });
    drawWaterfall();
    drawDependence();
  }

  function chooseFeature(name) {
    feature.value = name;
    drawDependence();
    dependence.element.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  function drawWaterfall() {
    waterfall.draw({ row: row.value(), output, max_display: LINES });
  }

  function drawDependence() {
    dependence.draw({ feature: feature.value, output });
  }

  const names = outputs.map(({ output: name }, place) => [place, name]);
  const chooser =
    outputs.length > 1
      ? segments({ "aria-label": "Output" }, "output", names, show)
      : el("strong", names[0][1]);
  const ranked = el(
    "section.stack",
    { "aria-labelledby": "ranked" },
    el("h2#ranked", "Feature ranking"),
    el("p.key.buttons", el("small.up", "higher values push up"), el("small.down", "higher values push down")),
    table.element,
    beeswarm.saveButtons("bar"),
  );
  show(0);
  return el(
    "div.sections",
    el("div.line", el("div.buttons", chooser, base), downloads(job)),
    el("div.card.overview", ranked, beeswarm.element),
    [waterfall, dependence].map((plot) => el("div.card", plot.element)),
  );
}

function downloads(job) {
  const problem = el("div");
  const buttons = Object.entries(FORMATS).map(([label, accept]) =>
    saveButton(job, label, `Download values as ${label}`, {
      accept,
      path: () => `${job.links.result}?interactions=false`,
      onError: (error) => replace(problem, problemBox(error)),
    }),
  );
  return el("div", el("div.buttons", el("small", "Values"), buttons), problem);
}

// Chooses one row by its number, counted from 0.
function rowChooser(rows, onChange) {
  let value = 0;
  let timer = null;
  const oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(() => choose(Math.floor(input.valueAsNumber)), PAUSE);
  };
  const input = el("input#row", { type: "number", min: 0, max: rows - 1, value, oninput });
  const step = (by, sign, name) => button("", sign, () => choose(value + by), { "aria-label": name });

  function choose(row) {
    if (Number.isNaN(row)) return;
    const fits = Math.min(rows - 1, Math.max(0, row));
    if (input.valueAsNumber !== fits) input.value = fits;
    if (fits === value) return;
    value = fits;
    onChange();
  }

  const buttons = [step(-1, "‹", "Previous row"), input, step(1, "›", "Next row")];
  const element = field(`Row, 0 to ${count(rows - 1)}`, "row", el("div.buttons", buttons));
  return { element, value: () => value };
}
