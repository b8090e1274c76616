// The model and the method. Only methods that the model can be explained with are offered.

import { getJson } from "/console/api.js";
import { el, field, replace, segments, setText } from "/console/elements.js";
import { counted } from "/console/figures.js";

const METHODS = {
  tree_path_dependent: {
    label: "Path dependent",
    about: "Exact and fast. Values are relative to the training data, as the trees recorded it.",
  },
  interventional: {
    label: "Interventional",
    about:
      "Values are relative to the model's background rows. A feature gets no credit for the effect of another. Slower.",
  },
};

export class Choices {
  #models = el("select#model");
  #aboutModel = el("small");
  #aboutMethod = el("small");
  #notOffered = el("small", { hidden: true });
  #refused = el("details.refused", { hidden: true });
  #inputs;
  #known = [];

  // `onModel` is called after another model was chosen.
  constructor(onModel) {
    this.#models.addEventListener("change", () => {
      this.#describe();
      onModel();
    });
    const options = Object.entries(METHODS).map(([method, { label }]) => [method, label]);
    const methods = segments({ "aria-labelledby": "method" }, "method", options, () =>
      this.#describeMethod(),
    );
    this.#inputs = [...methods.querySelectorAll("input")];
    this.element = el(
      "div.choices",
      field("Model", "model", this.#models, this.#aboutModel, this.#refused),
      el(
        "div.field",
        el("span#method.label", "Method"),
        el("div", methods),
        this.#aboutMethod,
        this.#notOffered,
      ),
    );
    this.#inputs[0].checked = true;
    this.#describeMethod();
  }

  get model() {
    return this.#models.value;
  }

  get method() {
    return this.#inputs.find((input) => input.checked).value;
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
    const refused = this.#known.filter(isRefused);
    const lines = refused.map((model) => el("li", el("strong", label(model)), `: ${model.reason}`));
    this.#refused.hidden = refused.length === 0;
    replace(this.#refused, el("summary", `${counted(refused.length, "version")} refused`), el("ul", lines));
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
    if (model.fallback) facts.push("a placeholder model whose values have no meaning");
    setText(this.#aboutModel, facts.join(", "));
    this.#offerMethods(model);
  }

  #offerMethods(model) {
    const isOffered = (input) => model.engines[input.value] !== null;
    for (const input of this.#inputs) {
      input.disabled = input.parentElement.hidden = !isOffered(input);
    }
    const offered = this.#inputs.filter(isOffered);
    if (offered.length && !offered.some((input) => input.checked)) offered[0].checked = true;
    this.#describeMethod();
    const missing = this.#inputs.filter((input) => !isOffered(input));
    this.#notOffered.hidden = missing.length === 0;
    setText(this.#notOffered, missing.map(({ value }) => notOffered(model, value)).join(" "));
  }

  #describeMethod() {
    setText(this.#aboutMethod, METHODS[this.method].about);
  }
}

const isRefused = ({ state }) => state === "refused";

const label = ({ name, version }) => (version === null ? name : `${name} · version ${version}`);

function option(model) {
  const refused = isRefused(model);
  const properties = { value: `${model.name}@${model.version}`, disabled: refused };
  return el("option", properties, refused ? `${label(model)} · refused` : label(model));
}

function notOffered(model, method) {
  const reason = model.activation?.methods[method]?.reason;
  const why = reason ?? (model.contract.background ? "" : "the model has no background rows");
  return `${METHODS[method].label} is not offered${why && `: ${why.replace(/\.$/, "")}`}.`;
}
