// Problems, questions, and announcements for screen readers.

import { el, table } from "/console/elements.js";

export function announce(text) {
  document.getElementById("announcements").textContent = text;
}

// Says what is wrong, what to do, and which cells are invalid.
export function problemBox({ title, message, errors, status, requestId }) {
  const faults = errors?.map(({ row, column, detail }) =>
    el("tr", el("td.number", row === null ? "–" : String(row)), el("td", column ?? "–"), el("td", detail)),
  );
  return el(
    "div.problem",
    { role: "alert" },
    el("strong", title || "Something went wrong"),
    el("p", message),
    faults?.length > 0 &&
      table("Invalid cells; rows are numbered from 0", [["Row", "number"], "Column", "Problem"], faults),
    status >= 500 && requestId && el("small", `Request ${requestId}`),
  );
}

// Asks before an action that cannot be undone. Resolves to whether the answer was yes.
export function ask({ title, text, yes, no }) {
  return new Promise((resolve) => {
    const cancel = el("button", { value: "no" }, no);
    const form = el(
      "form",
      { method: "dialog" },
      el("h2#question", title),
      el("p.soft", text),
      el("div.buttons", cancel, el("button.danger", { value: "yes" }, yes)),
    );
    const dialog = el("dialog", { "aria-labelledby": "question" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}
