// The answer of a completed job: ranked features, beeswarm, waterfall, dependence, and the values to take away.

import { getJson } from "/console/api.js";
import { downloadButton } from "/console/downloads.js";
import { el, replace } from "/console/elements.js";
import { value } from "/console/figures.js";
import { FeatureTable } from "/console/features.js";
import { Plot } from "/console/plot.js";
import { problemBox } from "/console/problem.js";
import { RowChooser } from "/console/row_chooser.js";

const FORMS = [
  ["CSV", "text/csv", "csv"],
  ["NPY", "application/x-npy", "npy"],
  ["JSON", "application/json", "json"],
];
// Features in the plots that have a line for each.
const SHOWN = 12;

export class Answer {
  #job;
  #outputs = [];
  #output = 0;
  #base = el("span", { class: "soft" });
  #table = new FeatureTable((feature) => this.#chooseFeature(feature));
  #features = el("select", { id: "feature", onchange: () => this.#drawDependence() });
  #row;
  #beeswarm;
  #waterfall;
  #dependence;

  constructor(job) {
    this.#job = job;
    this.element = el("div", {}, el("p", { class: "note", role: "status" }, "Reading the answer…"));
    this.#load();
  }

  async #load() {
    try {
      const summary = await getJson(`${this.#job.links.self}/summary`, { seconds: 60 });
      this.#outputs = summary.outputs;
    } catch (error) {
      replace(this.element, problemBox(error));
      return;
    }
    this.#lay();
    this.#show();
  }

  #lay() {
    this.#row = new RowChooser(this.#job.rows, () => this.#drawWaterfall());
    this.#beeswarm = new Plot(this.#job, {
      kind: "beeswarm",
      title: "Every row",
      about:
        "A dot for each row: where it stands is what the feature did, its colour is the feature's value.",
    });
    this.#waterfall = new Plot(this.#job, {
      kind: "waterfall",
      title: "One row",
      about: "From the base value to this row's prediction, step by step.",
      chooser: el("div", { class: "chooser" }, this.#row.element),
    });
    const chooser = el(
      "div",
      { class: "chooser" },
      el("div", { class: "field" }, el("label", { for: "feature" }, "Feature"), this.#features),
    );
    this.#dependence = new Plot(this.#job, {
      kind: "dependence",
      title: "One feature",
      about: "What the feature's value does to the output, row by row.",
      chooser,
    });
    const key = el(
      "p",
      { class: "key" },
      el("span", {}, "larger values push up"),
      el("span", { class: "down" }, "larger values push down"),
    );
    const ranked = el(
      "section",
      { class: "ranked", "aria-labelledby": "ranked" },
      el("h2", { id: "ranked" }, "What matters"),
      key,
      this.#table.element,
      this.#beeswarm.saveButtons("bar", "the bars"),
    );
    const bar = el(
      "div",
      { class: "answer-bar" },
      el("div", { class: "buttons" }, this.#outputChooser(), this.#base),
      this.#downloads(),
    );
    replace(
      this.element,
      el(
        "div",
        { class: "answer" },
        bar,
        el("div", { class: "card over" }, ranked, this.#beeswarm.element),
        card(this.#waterfall),
        card(this.#dependence),
      ),
    );
  }

  #outputChooser() {
    if (this.#outputs.length === 1) return el("strong", {}, this.#outputs[0].output);
    const choose = (place) => () => {
      this.#output = place;
      this.#show();
    };
    const options = this.#outputs.map(({ output }, place) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name: "output",
          value: output,
          checked: place === this.#output,
          onchange: choose(place),
        }),
        output,
      ),
    );
    return el("span", { class: "segments-control", role: "radiogroup", "aria-label": "Output" }, options);
  }

  #downloads() {
    const problem = el("div");
    const buttons = FORMS.map(([label, accept, ending]) =>
      downloadButton({
        label,
        accept,
        name: `Download the values as ${label}`,
        path: `${this.#job.links.result}?interactions=false`,
        file: `shap-${this.#job.id}.${ending}`,
        onError: (error) => replace(problem, problemBox(error)),
      }),
    );
    return el(
      "div",
      {},
      el("div", { class: "buttons" }, el("span", { class: "soft" }, "Values"), buttons),
      problem,
    );
  }

  #show() {
    const { features, base_value: base } = this.#outputs[this.#output];
    replace(this.#base, `base value ${value(base)}`);
    this.#table.show(features);
    const chosen = this.#features.value;
    replace(
      this.#features,
      features.map(({ feature }) => el("option", { value: feature }, feature)),
    );
    if (features.some(({ feature }) => feature === chosen)) this.#features.value = chosen;
    this.#beeswarm.draw({ output: this.#name(), max_display: SHOWN });
    this.#drawWaterfall();
    this.#drawDependence();
  }

  // The output's name where there are several: the appliance knows the only one.
  #name() {
    return this.#outputs.length > 1 ? this.#outputs[this.#output].output : null;
  }

  #chooseFeature(feature) {
    this.#features.value = feature;
    this.#drawDependence();
    this.#dependence.element.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  #drawWaterfall() {
    this.#waterfall.draw({ row: this.#row.value, output: this.#name(), max_display: SHOWN });
  }

  #drawDependence() {
    this.#dependence.draw({ feature: this.#features.value, output: this.#name() });
  }
}

const card = (plot) => el("div", { class: "card" }, plot.element);
