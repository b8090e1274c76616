// The features ranked by their effect on the output: its mean size, and its direction.

import { button, el, replace } from "/console/elements.js";
import { counted, value } from "/console/figures.js";

// Features shown at first.
const FIRST = 12;
// A weaker correlation shows no direction.
const CLEAR = 0.1;

export class FeatureTable {
  #body = el("tbody");
  #more = button(".small", "", () => this.#showAll(), { hidden: true });
  #features = [];
  #onChoose;

  // `onChoose` is called with the name of a feature that was clicked.
  constructor(onChoose) {
    this.#onChoose = onChoose;
    const correlation = { title: "Correlation of the feature's values with its SHAP values" };
    const head = el(
      "tr",
      el("th.rank", { scope: "col" }, el("span.unseen", "Rank")),
      el("th", { scope: "col" }, "Feature"),
      el("th", { scope: "col", colspan: "2" }, "Mean |SHAP|"),
      el("th.number", { scope: "col" }, el("abbr", correlation, "Corr.")),
    );
    const caption = el("caption.unseen", "Features, ranked by their mean absolute SHAP value");
    this.element = el("div", el("table.features", caption, el("thead", head), this.#body), this.#more);
  }

  show(features) {
    this.#features = features;
    this.#lay(features.slice(0, FIRST));
    this.#more.hidden = features.length <= FIRST;
    this.#more.textContent = `Show all ${counted(features.length, "feature")}`;
  }

  #showAll() {
    const next = this.#body.children.length;
    this.#lay(this.#features);
    this.#more.hidden = true;
    this.#body.children[next]?.querySelector("button").focus();
  }

  #lay(features) {
    const most = Math.max(...this.#features.map((feature) => feature.mean_abs), Number.MIN_VALUE);
    replace(
      this.#body,
      features.map((feature, place) => this.#line(feature, place + 1, most)),
    );
  }

  #line({ feature, mean_abs: mean, min, max, correlation }, rank, most) {
    const direction = directionOf(correlation);
    const bar = el("i", { class: direction });
    bar.style.width = `${(100 * mean) / most}%`;
    const title = `SHAP values from ${value(min)} to ${value(max)}. Show the dependence plot`;
    return el(
      "tr",
      el("td.rank.number", String(rank)),
      el(
        "td.feature",
        button(".link", feature, () => this.#onChoose(feature), { title }),
      ),
      el("td.bar", { "aria-hidden": "true" }, bar),
      el("td.number", threeDigits(mean)),
      el("td", { class: `number ${direction}` }, correlationText(correlation)),
    );
  }
}

// The same number of digits in each line, for comparison.
const threeDigits = (number) => (number >= 1000 || number < 1e-4 ? value(number) : number.toPrecision(3));

function correlationText(number) {
  if (number === null) return "–";
  return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;
}

function directionOf(correlation) {
  if (correlation === null || Math.abs(correlation) < CLEAR) return "";
  return correlation > 0 ? "up" : "down";
}
