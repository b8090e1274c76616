// The model and the method. Only methods that the model can be explained with are offered.

import { el, field, segments, setText } from "./elements.js";
import { counted } from "./figures.js";

export const METHODS = {
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

// `onModel` is called after another model was chosen.
export function makeChoices(models, onModel) {
  const aboutModel = el("small");
  const aboutMethod = el("small");
  const options = Object.entries(METHODS).map(([method, { label }]) => [method, label]);
  const methods = segments({ "aria-labelledby": "method" }, "method", options, describe);
  const inputs = [...methods.querySelectorAll("input")];
  const select = el("select#model", models.map(option));
  const chosen = () => models[select.selectedIndex];
  const method = () => inputs.find((input) => input.checked).value;

  function describe() {
    const model = chosen();
    if (!model) return;
    setText(aboutModel, factsOf(model));
    for (const input of inputs)
      input.disabled = input.parentElement.hidden = model.engines[input.value] === null;
    const offered = inputs.filter((input) => !input.disabled);
    if (offered.length && !offered.some((input) => input.checked)) offered[0].checked = true;
    const missing = inputs.filter((input) => input.disabled).map(({ value }) => notOffered(model, value));
    setText(aboutMethod, [METHODS[method()].about, ...missing].join(" "));
  }

  select.addEventListener("change", () => {
    describe();
    onModel();
  });
  describe();
  const element = el(
    "div.choices",
    field("Model", "model", select, aboutModel, refusedOf(models)),
    el("div.tight", el("span#method.label", "Method"), methods, aboutMethod),
  );
  return { element, chosen, name: () => select.value, method };
}

const isRefused = ({ state }) => state === "refused";

const label = ({ name, version }) => (version === null ? name : `${name} · version ${version}`);

function option(model) {
  const refused = isRefused(model);
  const properties = { value: `${model.name}@${model.version}`, disabled: refused };
  return el("option", properties, refused ? `${label(model)} · refused` : label(model));
}

function refusedOf(models) {
  const refused = models.filter(isRefused);
  const lines = refused.map((model) => el("li", el("strong", label(model)), `: ${model.reason}`));
  const summary = el("summary", `${counted(refused.length, "version")} refused`);
  return refused.length > 0 && el("details.refused.soft", summary, el("ul", lines));
}

function factsOf({ features, outputs, contract, fallback }) {
  const facts = [counted(features.length, "feature"), counted(outputs.length, "output")];
  const categories = contract.features.filter(({ kind }) => kind === "category").length;
  if (categories) facts.push(counted(categories, "category", "categories"));
  if (fallback) facts.push("a placeholder model whose values have no meaning");
  return facts.join(", ");
}

function notOffered(model, method) {
  const reason = model.activation?.methods[method]?.reason;
  const why = reason ?? (model.contract.background ? "" : "the model has no background rows");
  return `${METHODS[method].label} is not offered${why && `: ${why.replace(/\.$/, "")}`}.`;
}
