// What rows are explained with: a model, and what its values are measured against. Only what the appliance can do is offered.

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
  #notOffered = el("small", { hidden: true });
  #refused = el("details", { class: "refused", hidden: true });
  #inputs = new Map();
  #known = [];
  method = "tree_path_dependent";

  // `onModel` is told of another model.
  constructor(onModel) {
    this.#models.addEventListener("change", () => {
      this.#describe();
      onModel();
    });
    const model = [
      el("label", { for: "model" }, "Model"),
      this.#models,
      this.#modelAbout,
      this.#refused,
    ];
    const method = [
      el("span", { class: "label", id: "method" }, "Method"),
      el("div", {}, this.#methods()),
      this.#methodAbout,
      this.#notOffered,
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
    return this.#chosen?.features ?? [];
  }

  get hasExamples() {
    return Boolean(this.#chosen?.contract.examples);
  }

  async load() {
    this.#known = (await getJson("/v1/models")).models;
    replace(this.#models, this.#known.map(option));
    this.#listRefused(this.#known.filter(isRefused));
    this.#describe();
  }

  get #chosen() {
    return this.#known[this.#models.selectedIndex];
  }

  #describe() {
    const model = this.#chosen;
    if (!model) return;
    const facts = [counted(model.features.length, "feature"), counted(model.outputs.length, "output")];
    const categories = model.contract.features.filter(({ kind }) => kind === "category").length;
    if (categories) facts.push(counted(categories, "category", "categories"));
    if (model.fallback) facts.push("a stand-in, whose values explain nothing real");
    say(this.#modelAbout, facts.join(", "));
    this.#offerMethods(model);
  }

  #offerMethods(model) {
    const offered = (method) => model.engines[method] !== null;
    for (const [method, { input, label }] of this.#inputs) {
      input.disabled = !offered(method);
      label.hidden = !offered(method);
    }
    const methods = [...this.#inputs.keys()];
    if (!offered(this.method)) this.#choose(methods.find(offered) ?? this.method);
    const why = methods.filter((method) => !offered(method)).map((method) => notOffered(model, method));
    this.#notOffered.hidden = why.length === 0;
    say(this.#notOffered, why.join(" "));
  }

  #listRefused(refused) {
    this.#refused.hidden = refused.length === 0;
    const line = (model) => el("li", {}, el("strong", {}, label(model)), `: ${model.reason}`);
    replace(
      this.#refused,
      el("summary", {}, `${counted(refused.length, "version")} refused`),
      el("ul", {}, refused.map(line)),
    );
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
      this.#inputs.set(value, { input, label: el("label", {}, input, label) });
      return this.#inputs.get(value).label;
    });
    return el("span", { class: "segments-control" }, options);
  }

  #choose(method) {
    this.method = method;
    this.#inputs.get(method).input.checked = true;
    say(this.#methodAbout, METHODS[method].about);
  }
}

const isRefused = ({ state }) => state === "refused";

const label = ({ name, version }) => (version === null ? name : `${name} · version ${version}`);

function option(model) {
  const refused = isRefused(model);
  return el(
    "option",
    { value: `${model.name}@${model.version}`, disabled: refused },
    refused ? `${label(model)} · refused` : label(model),
  );
}

function notOffered(model, method) {
  const reason = model.activation?.methods[method]?.reason;
  const why = reason ?? (model.contract.background ? "" : "the model has no background rows");
  return `${METHODS[method].label} is not offered${why && `: ${why.replace(/\.$/, "")}`}.`;
}
