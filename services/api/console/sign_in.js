// The first page: what this is, and the key.

import { call, getJson } from "/console/api.js";
import { el, replace } from "/console/elements.js";
import { problemBox } from "/console/problem.js";
import { session } from "/console/session.js";
import { swarm } from "/console/swarm.js";

const REFUSALS = {
  401: {
    title: "This key is not known",
    message: "Look whether it is whole, and whether it is this appliance's.",
  },
  403: {
    title: "This key opens something else",
    message: "It is known, but opens no jobs: it takes the API_KEY or the ADMIN_API_KEY.",
  },
};

export class SignIn {
  #key = el("input", {
    type: "password",
    id: "key",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    placeholder: "API_KEY",
  });
  #button = el("button", { type: "submit", class: "main" }, "Sign in");
  #problem = el("div");

  constructor(reason) {
    const form = el(
      "form",
      { onsubmit: (event) => this.#submit(event) },
      el(
        "div",
        { class: "field" },
        el("label", { for: "key" }, "Key"),
        el("div", { class: "line" }, this.#key, this.#button),
      ),
      this.#problem,
    );
    if (reason) replace(this.#problem, el("p", { class: "note", role: "alert" }, reason));
    this.element = el(
      "div",
      { class: "welcome" },
      el(
        "section",
        { "aria-labelledby": "welcome" },
        el("h1", { id: "welcome" }, "See why the model said so."),
        el(
          "p",
          { class: "lead" },
          "Exact SHAP values of XGBoost models, from one small box. Sign in to bring rows, and to watch it work.",
        ),
        form,
        el(
          "div",
          { class: "hint" },
          el(
            "p",
            {},
            "The key lies in ",
            el("code", {}, ".data/keys/API_KEY"),
            ", in a container in ",
            el("code", {}, "/data/keys/API_KEY"),
            ".",
          ),
          el("p", {}, "It stays in the memory of this tab. A reload forgets it."),
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
      if (!/^[\x21-\x7e]+$/.test(key)) throw { status: 401 };
      await call("/v1/appliance", { key });
      session.begin(key);
    } catch (error) {
      replace(
        this.#problem,
        problemBox({ ...(REFUSALS[error.status] ?? { title: error.title, message: error.message }) }),
      );
      this.#key.select();
    }
    this.#button.disabled = false;
  }
}

// What anybody may know: the version.
export async function showBuild(element) {
  const { version, commit, xgboost, shap } = await getJson("/version", { key: null });
  const place = commit === "unknown" ? "" : ` (${commit.slice(0, 7)})`;
  element.textContent = `Shapbox ${version}${place} · XGBoost ${xgboost} · shap ${shap}`;
}
