// Asks before something that cannot be undone.

import { el } from "/console/elements.js";

export function ask({ title, text, yes }) {
  return new Promise((resolve) => {
    const cancel = el("button", { type: "submit", value: "no" }, "Keep it");
    const confirm = el("button", { type: "submit", value: "yes", class: "danger" }, yes);
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { id: "question" }, title),
      el("p", { class: "soft" }, text),
      el("div", { class: "buttons" }, cancel, confirm),
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
