// Problems, questions, and announcements for screen readers.

import { el, table } from "./elements.js";

export function announce(text) {
  document.getElementById("announcements").textContent = text;
}

// Says what is wrong, what to do, and which cells are invalid.
export function problemBox({ title, message, errors, status, requestId }) {
  const faults = errors?.map(({ row, column, detail }) => [row ?? "–", column ?? "–", detail]);
  return el(
    "div.problem",
    { role: "alert" },
    el("strong", title || "Something went wrong"),
    el("p", message),
    faults?.length > 0 &&
      table("", "Invalid cells; rows are numbered from 0", ["Row", "Column", "Problem"], faults),
    status >= 500 && requestId && el("small", `Request ${requestId}`),
  );
}

// Asks before an action that cannot be undone. Resolves to whether the answer was yes.
export function ask({ title, text, yes, no }) {
  const dialog = el(
    "dialog",
    { "aria-labelledby": "question" },
    el(
      "form.stack",
      { method: "dialog" },
      el("h2#question", title),
      el("p.soft", text),
      el("div.buttons", el("button", no), el("button.danger", { value: "yes" }, yes)),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
