// A problem as a person should meet it: what is wrong, what to do, and the cells at fault.

import { el } from "/console/elements.js";

export function problemBox(error) {
  const box = el(
    "div",
    { class: "problem", role: "alert" },
    el("strong", {}, error.title || "Something went wrong"),
    el("p", {}, error.message),
  );
  if (error.errors?.length) box.append(faultTable(error.errors));
  if (error.status >= 500 && error.requestId) box.append(el("small", {}, `Request ${error.requestId}`));
  return box;
}

function faultTable(errors) {
  const rows = errors.map((fault) =>
    el(
      "tr",
      {},
      el("td", { class: "number" }, fault.row === null ? "–" : String(fault.row)),
      el("td", {}, fault.column ?? "–"),
      el("td", {}, fault.detail),
    ),
  );
  const head = el(
    "tr",
    {},
    el("th", { class: "number", scope: "col" }, "Row"),
    el("th", { scope: "col" }, "Column"),
    el("th", { scope: "col" }, "What is wrong"),
  );
  const table = el(
    "table",
    { class: "data" },
    el("caption", { class: "unseen" }, "Faulty cells; rows are counted from 0"),
    el("thead", {}, head),
    el("tbody", {}, rows),
  );
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Faulty cells" }, table);
}
