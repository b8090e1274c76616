// The first page: what this is, and the field for the key.

import { call, Problem, session } from "/console/api.js";
import { el, field, replace } from "/console/elements.js";
import { problemBox } from "/console/messages.js";
import { swarm } from "/console/swarm.js";

const REFUSALS = {
  401: { title: "Unknown key", message: "Check that the key is complete and belongs to this appliance." },
  403: {
    title: "This key cannot open the console",
    message: "Sign in with the API_KEY or the ADMIN_API_KEY.",
  },
};

export class SignIn {
  #key = el("input#key", {
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    placeholder: "API_KEY",
  });
  #button = el("button.main", "Sign in");
  #problem = el("div");

  constructor(reason) {
    if (reason) replace(this.#problem, el("p.note", { role: "alert" }, reason));
    const key = field("Key", "key", el("div.line", this.#key, this.#button));
    const where = [
      el("code", ".data/keys/API_KEY"),
      ", or in a container in ",
      el("code", "/data/keys/API_KEY"),
    ];
    this.element = el(
      "div.welcome",
      el(
        "section",
        { "aria-labelledby": "welcome" },
        el("h1#welcome", "See what drives each prediction."),
        el(
          "p.lead",
          "Exact SHAP values of XGBoost models, from one small appliance. Sign in to explain rows and to watch it work.",
        ),
        el("form", { onsubmit: (event) => this.#submit(event) }, key, this.#problem),
        el(
          "div.hint",
          el("p", "You find the key in ", where, "."),
          el("p", "It stays in the memory of this tab. A reload forgets it."),
        ),
      ),
      swarm(),
    );
  }

  start() {
    this.#key.focus();
  }

  stop() {}

  async #submit(event) {
    event.preventDefault();
    const key = this.#key.value.trim();
    this.#button.disabled = true;
    replace(this.#problem);
    try {
      // Other characters cannot be sent in a header.
      if (!/^[\x21-\x7e]+$/.test(key)) throw new Problem({}, 401);
      await call("/v1/appliance", { as: key });
      session.begin(key);
    } catch (error) {
      replace(this.#problem, problemBox(REFUSALS[error.status] ?? error));
      this.#key.select();
    }
    this.#button.disabled = false;
  }
}
