// The first rows of what is about to be explained.

import { el } from "/console/elements.js";

export function preview([header, ...rows]) {
  const line = (cells) =>
    el(
      "tr",
      {},
      cells.map((cell) => el("td", {}, cell)),
    );
  const head = el(
    "tr",
    {},
    header.map((name) => el("th", { scope: "col" }, name)),
  );
  const caption = el("caption", { class: "unseen" }, "The first rows");
  const table = el(
    "table",
    { class: "data" },
    caption,
    el("thead", {}, head),
    el("tbody", {}, rows.map(line)),
  );
  const region = { class: "preview scroll", tabindex: "0", role: "region", "aria-label": "The first rows" };
  return el("div", region, table);
}
