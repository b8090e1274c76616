// The first page: what this is, and the field for the key.

import { call, Problem, useKey } from "./api.js";
import { el, field, replace } from "./elements.js";
import { problemBox } from "./messages.js";

const REFUSALS = {
  401: { title: "Unknown key", message: "Check that the key is complete and belongs to this appliance." },
  403: {
    title: "This key cannot open the console",
    message: "Sign in with the API_KEY or the ADMIN_API_KEY.",
  },
};

export function signIn(reason) {
  const key = el("input#key", {
    type: "password",
    autocomplete: "off",
    required: true,
    placeholder: "API_KEY",
    autofocus: true,
  });
  const go = el("button.main", "Sign in");
  const problem = el("div", reason && el("p.note", { role: "alert" }, reason));

  async function onsubmit(event) {
    event.preventDefault();
    const given = key.value.trim();
    go.disabled = true;
    replace(problem);
    try {
      // Other characters cannot be sent in a header.
      if (!/^[\x21-\x7e]+$/.test(given)) throw new Problem({}, 401);
      await call("v1/appliance", { as: given });
      useKey(given);
    } catch (error) {
      replace(problem, problemBox(REFUSALS[error.status] ?? error));
      key.select();
    }
    go.disabled = false;
  }

  const lead =
    "Exact SHAP values of XGBoost models, from one small appliance. Sign in to explain rows and to watch it work.";
  const where = [
    el("code", ".data/keys/API_KEY"),
    ", or in a container in ",
    el("code", "/data/keys/API_KEY"),
  ];
  return el(
    "section.welcome.stack",
    { "aria-labelledby": "welcome" },
    el("h1#welcome", "See what drives each prediction."),
    el("p.soft", lead),
    el("form.stack", { onsubmit }, field("Key", "key", el("div.line", key, go)), problem),
    el("small", "You find the key in ", where, ". It stays in the memory of this tab. A reload forgets it."),
  );
}
