// What rows are explained with: a model, and what its values are measured against.

import { getJson } from "/console/api.js";
import { el, replace, say } from "/console/elements.js";
import { counted } from "/console/figures.js";

const METHODS = {
  tree_path_dependent: {
    label: "Path dependent",
    about: "Exact and fast: XGBoost's own contributions, measured against what the trees saw in training.",
  },
  interventional: {
    label: "Interventional",
    about:
      "Measured against the model's background rows; a feature gets nothing for what another one does. Slower.",
  },
};

export class Choices {
  #models = el("select", { id: "model" });
  #modelAbout = el("small");
  #methodAbout = el("small");
  #known = [];
  method = "tree_path_dependent";

  // `onModel` is told of another model.
  constructor(onModel) {
    this.#models.addEventListener("change", () => {
      this.#describe();
      onModel();
    });
    const model = [el("label", { for: "model" }, "Model"), this.#models, this.#modelAbout];
    const method = [
      el("span", { class: "label", id: "method" }, "Method"),
      el("div", {}, this.#methods()),
      this.#methodAbout,
    ];
    const group = { class: "field", role: "radiogroup", "aria-labelledby": "method" };
    this.element = el(
      "div",
      { class: "choices" },
      el("div", { class: "field" }, model),
      el("div", group, method),
    );
    this.#choose(this.method);
  }

  get model() {
    return this.#models.value;
  }

  get features() {
    return this.#known[this.#models.selectedIndex]?.features ?? [];
  }

  async load() {
    this.#known = (await getJson("/v1/models")).models;
    const option = ({ name, version }) =>
      el("option", { value: `${name}@${version}` }, `${name} · version ${version}`);
    replace(this.#models, this.#known.map(option));
    this.#describe();
  }

  #describe() {
    const model = this.#known[this.#models.selectedIndex];
    if (!model) return;
    const facts = [counted(model.features.length, "feature"), counted(model.outputs.length, "output")];
    if (model.fallback) facts.push("a stand-in, whose values explain nothing real");
    say(this.#modelAbout, facts.join(", "));
  }

  #methods() {
    const options = Object.entries(METHODS).map(([value, { label }]) => {
      const checked = value === this.method;
      const input = el("input", {
        type: "radio",
        name: "method",
        value,
        checked,
        onchange: () => this.#choose(value),
      });
      return el("label", {}, input, label);
    });
    return el("span", { class: "segments-control" }, options);
  }

  #choose(method) {
    this.method = method;
    say(this.#methodAbout, METHODS[method].about);
  }
}
