// The result of a completed job: ranked features, three plots, and the values as files.

import { getJson } from "/console/api.js";
import { el, field, replace, segments, setText } from "/console/elements.js";
import { FeatureTable } from "/console/features.js";
import { value } from "/console/figures.js";
import { problemBox } from "/console/messages.js";
import { Plot, saveButton } from "/console/plot.js";
import { RowChooser } from "/console/row_chooser.js";

const FORMATS = { CSV: "text/csv", NPY: "application/x-npy", JSON: "application/json" };
// Lines of a plot that has one for each feature.
const LINES = 12;
// Seconds for the summary of a large job on a busy machine.
const TIMEOUT = 60;

export class Answer {
  #job;
  #outputs = [];
  #output = 0;
  #base = el("span.soft");
  #table = new FeatureTable((feature) => this.#chooseFeature(feature));
  #feature = el("select#feature", { onchange: () => this.#drawDependence() });
  #row;
  #beeswarm;
  #waterfall;
  #dependence;

  constructor(job) {
    this.#job = job;
    this.element = el("div", el("p.note", { role: "status" }, "Loading the result…"));
    this.#row = new RowChooser(job.rows, () => this.#drawWaterfall());
    this.#beeswarm = new Plot(job, {
      kind: "beeswarm",
      title: "All rows",
      about: "One dot for each row: its position is the SHAP value, its colour the feature's value.",
    });
    this.#waterfall = new Plot(job, {
      kind: "waterfall",
      title: "One row",
      about: "How the SHAP values lead from the base value to the row's margin.",
      chooser: this.#row.element,
    });
    this.#dependence = new Plot(job, {
      kind: "dependence",
      title: "One feature",
      about: "The feature's SHAP value against its value, one dot for each row.",
      chooser: field("Feature", "feature", this.#feature),
    });
    this.#load();
  }

  async #load() {
    try {
      const summary = await getJson(`${this.#job.links.self}/summary`, { seconds: TIMEOUT });
      this.#outputs = summary.outputs;
    } catch (error) {
      replace(this.element, problemBox(error));
      return;
    }
    const ranked = el(
      "section.ranked",
      { "aria-labelledby": "ranked" },
      el("h2#ranked", "Feature ranking"),
      el("p.key", el("span", "higher values push up"), el("span.down", "higher values push down")),
      this.#table.element,
      this.#beeswarm.saveButtons("bar"),
    );
    const bar = el("div.line", el("div.buttons", this.#outputChooser(), this.#base), this.#downloads());
    const overview = el("div.card.over", ranked, this.#beeswarm.element);
    const cards = [this.#waterfall, this.#dependence].map((plot) => el("div.card", plot.element));
    replace(this.element, el("div.stack", bar, overview, cards));
    this.#show();
  }

  #outputChooser() {
    if (this.#outputs.length === 1) return el("strong", this.#outputs[0].output);
    const options = this.#outputs.map(({ output }, place) => [place, output]);
    const chooser = segments({ "aria-label": "Output" }, "output", options, (place) => {
      this.#output = place;
      this.#show();
    });
    chooser.querySelector("input").checked = true;
    return chooser;
  }

  #downloads() {
    const problem = el("div");
    const buttons = Object.entries(FORMATS).map(([label, accept]) =>
      saveButton({
        label,
        name: `Download values as ${label}`,
        accept,
        path: () => `${this.#job.links.result}?interactions=false`,
        file: `shap-${this.#job.id}.${label.toLowerCase()}`,
        onError: (error) => replace(problem, problemBox(error)),
      }),
    );
    return el("div", el("div.buttons", el("span.soft", "Values"), buttons), problem);
  }

  #show() {
    const { features, base_value: base } = this.#outputs[this.#output];
    setText(this.#base, `base value ${value(base)}`);
    this.#table.show(features);
    const chosen = this.#feature.value || features[0].feature;
    replace(
      this.#feature,
      features.map(({ feature }) => el("option", { value: feature }, feature)),
    );
    this.#feature.value = chosen;
    this.#beeswarm.draw({ output: this.#name, max_display: LINES });
    this.#drawWaterfall();
    this.#drawDependence();
  }

  // The output's name, if there are several.
  get #name() {
    return this.#outputs.length > 1 ? this.#outputs[this.#output].output : null;
  }

  #chooseFeature(feature) {
    this.#feature.value = feature;
    this.#drawDependence();
    this.#dependence.element.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  #drawWaterfall() {
    this.#waterfall.draw({ row: this.#row.value, output: this.#name, max_display: LINES });
  }

  #drawDependence() {
    this.#dependence.draw({ feature: this.#feature.value, output: this.#name });
  }
}
