// The features by what they do to the output: how much on average, and which way.

import { el, replace } from "/console/elements.js";
import { counted, value } from "/console/figures.js";

// Features that are shown until all are asked for.
const FIRST = 12;
// From this correlation on, a larger value of the feature is said to push one way.
const CLEAR = 0.1;

export class FeatureTable {
  #body = el("tbody");
  #more = el("button", { type: "button", class: "small", hidden: true, onclick: () => this.#showAll() });
  #features = [];
  #onChoose;

  // `onChoose` gets the name of a feature that somebody wants to look at.
  constructor(onChoose) {
    this.#onChoose = onChoose;
    const column = (text, properties = {}) => el("th", { scope: "col", ...properties }, text);
    const head = el(
      "tr",
      {},
      column("", { class: "rank" }),
      column("Feature"),
      column("Mean |SHAP|", { class: "bar" }),
      column("", { class: "number" }),
      column(el("abbr", { title: "Correlation of the feature's value with its SHAP value" }, "Corr."), {
        class: "number",
      }),
    );
    this.element = el(
      "div",
      {},
      el(
        "table",
        { class: "features" },
        el("caption", { class: "unseen" }, "Features, ranked by their mean absolute SHAP value"),
        el("thead", {}, head),
        this.#body,
      ),
      this.#more,
    );
  }

  show(features) {
    this.#features = features;
    this.#lay(features.slice(0, FIRST));
    this.#more.hidden = features.length <= FIRST;
    this.#more.textContent = `Show all ${counted(features.length, "feature")}`;
  }

  #showAll() {
    const place = this.#body.children.length;
    this.#lay(this.#features);
    this.#more.hidden = true;
    this.#body.children[place]?.querySelector("button").focus();
  }

  #lay(features) {
    const most = Math.max(...this.#features.map((feature) => feature.mean_abs), Number.MIN_VALUE);
    replace(
      this.#body,
      features.map((feature, place) => this.#line(feature, place + 1, most)),
    );
  }

  #line(feature, rank, most) {
    const way = direction(feature.correlation);
    const bar = el("i", { class: way });
    bar.style.width = `${(100 * feature.mean_abs) / most}%`;
    const choose = el(
      "button",
      {
        type: "button",
        class: "link",
        title: `From ${value(feature.min)} to ${value(feature.max)}. Show its dependence`,
        onclick: () => this.#onChoose(feature.feature),
      },
      feature.feature,
    );
    return el(
      "tr",
      {},
      el("td", { class: "rank number" }, String(rank)),
      el("td", { class: "feature" }, choose),
      el("td", { class: "bar", "aria-hidden": "true" }, bar),
      el("td", { class: "number" }, threeDigits(feature.mean_abs)),
      el("td", { class: `number way ${way}` }, correlation(feature.correlation)),
    );
  }
}

// The same number of digits in each line, so that the lines can be compared.
const threeDigits = (number) => (number >= 1000 || number < 1e-4 ? value(number) : number.toPrecision(3));

function correlation(number) {
  if (number === null) return "–";
  return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;
}

function direction(number) {
  if (number === null || Math.abs(number) < CLEAR) return "";
  return number > 0 ? "up" : "down";
}
