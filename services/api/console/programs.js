// The programs under supervisord, with their states and sizes.

import { el, replace, say } from "/console/elements.js";
import { megabytes } from "/console/figures.js";
import { tint } from "/console/gauge.js";

const WORDS = {
  RUNNING: ["running", "good"],
  STARTING: ["starting", "busy"],
  STOPPING: ["stopping", "warn"],
  BACKOFF: ["starts again soon", "warn"],
  EXITED: ["ended", "bad"],
  STOPPED: ["stopped", "warn"],
  FATAL: ["given up", "bad"],
};

export class ProgramList {
  #list = el("ul", { class: "programs" });
  #rows = new Map();

  constructor() {
    this.element = el(
      "section",
      { class: "card", "aria-labelledby": "programs" },
      el("div", { class: "card-head" }, el("h2", { id: "programs" }, "Programs")),
      this.#list,
    );
  }

  show({ programs }) {
    const names = programs.map((program) => program.name).join();
    if (names !== [...this.#rows.keys()].join()) this.#lay(programs);
    for (const program of programs) {
      const { badge, size } = this.#rows.get(program.name);
      const [word, tone] = WORDS[program.state] ?? [program.state.toLowerCase(), "warn"];
      say(badge, word);
      badge.dataset.tone = tone;
      say(size, program.memory_bytes === null ? "–" : `${megabytes(program.memory_bytes).toFixed(0)} MB`);
    }
  }

  #lay(programs) {
    this.#rows.clear();
    const items = programs.map((program) => {
      const row = { badge: el("span", { class: "badge" }), size: el("span", { class: "number" }) };
      this.#rows.set(program.name, row);
      return el(
        "li",
        {},
        el("span", { class: `swatch ${tint(program.name, programs)}`, "aria-hidden": "true" }),
        el("span", {}, program.name),
        row.badge,
        row.size,
      );
    });
    replace(
      this.#list,
      items.length ? items : el("li", { class: "empty" }, "The monitor has not reported yet."),
    );
  }
}
