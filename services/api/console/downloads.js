// Saves what the appliance gives. A plain link could not send the key, so it is fetched first.

import { getBlob } from "/console/api.js";
import { el, say } from "/console/elements.js";

export function downloadButton({ label, path, accept, file, onError, name }) {
  const button = el("button", { type: "button", class: "small", "aria-label": name, onclick: save }, label);
  async function save() {
    button.disabled = true;
    say(button, "Saving…");
    try {
      offer(
        await getBlob(typeof path === "function" ? path() : path, accept),
        typeof file === "function" ? file() : file,
      );
    } catch (error) {
      onError(error);
    }
    say(button, label);
    button.disabled = false;
  }
  return button;
}

function offer(blob, file) {
  const address = URL.createObjectURL(blob);
  const link = el("a", { href: address, download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
