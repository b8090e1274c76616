// The features ranked by their effect on the output: its mean size, and its direction.

import { button, el, replace } from "./elements.js";
import { counted, value } from "./figures.js";

// Features shown at first.
const FIRST = 12;
// A weaker correlation shows no direction.
const CLEAR = 0.1;

// `onChoose` is called with the name of a feature that was clicked.
export function featureTable(onChoose) {
  const body = el("tbody");
  const more = button(".small", "", showAll);
  let lines = [];

  function show(features) {
    const most = Math.max(...features.map(({ mean_abs: mean }) => mean), Number.MIN_VALUE);
    lines = features.map((feature, place) => line(feature, place + 1, most, onChoose));
    replace(body, lines.slice(0, FIRST));
    more.hidden = lines.length <= FIRST;
    more.textContent = `Show all ${counted(lines.length, "feature")}`;
  }

  function showAll() {
    replace(body, lines);
    more.hidden = true;
    lines[FIRST].querySelector("button").focus();
  }

  const correlation = { title: "Correlation of the feature's values with its SHAP values" };
  const head = el(
    "tr",
    el("th.rank", el("span.unseen", "Rank")),
    el("th", "Feature"),
    el("th", { colspan: 2 }, "Mean |SHAP|"),
    el("th.number", el("abbr", correlation, "Corr.")),
  );
  const caption = el("caption.unseen", "Features, ranked by their mean absolute SHAP value");
  return { element: el("div.stack", el("table.features", caption, el("thead", head), body), more), show };
}

function line({ feature, mean_abs: mean, min, max, correlation }, rank, most, onChoose) {
  const direction = directionOf(correlation);
  const bar = el("i", { class: direction });
  bar.style.width = `${(100 * mean) / most}%`;
  const title = `SHAP values from ${value(min)} to ${value(max)}. Show the dependence plot`;
  const choose = button(".link", feature, () => onChoose(feature), { title });
  return el(
    "tr",
    el("td.rank", String(rank)),
    el("td.feature", choose),
    el("td.bar", { "aria-hidden": "true" }, bar),
    el("td.number", threeDigits(mean)),
    el("td", { class: `number ${direction}` }, correlationText(correlation)),
  );
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
