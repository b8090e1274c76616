// The programs under supervisord, with their states and sizes.

import { card, el, replace, setText } from "/console/elements.js";
import { megabytes } from "/console/figures.js";
import { tint } from "/console/gauge.js";

const STATES = {
  RUNNING: ["running", "good"],
  STARTING: ["starting", "busy"],
  STOPPING: ["stopping", "warn"],
  BACKOFF: ["restarting soon", "warn"],
  EXITED: ["exited", "bad"],
  STOPPED: ["stopped", "warn"],
  FATAL: ["failed", "bad"],
};

export class ProgramList {
  #list = el("ul.programs.lines");
  #rows = new Map();

  constructor() {
    this.element = card("programs", "Programs", null, this.#list);
  }

  show({ programs }) {
    const names = programs.map((program) => program.name).join();
    if (!programs.length || names !== [...this.#rows.keys()].join()) this.#lay(programs);
    for (const { name, state, memory_bytes: bytes } of programs) {
      const [badge, size] = this.#rows.get(name);
      const [word, tone] = STATES[state] ?? [state.toLowerCase(), "warn"];
      setText(badge, word);
      badge.dataset.tone = tone;
      setText(size, bytes === null ? "–" : `${megabytes(bytes)} MB`);
    }
  }

  #lay(programs) {
    this.#rows = new Map(programs.map(({ name }) => [name, [el("span.badge"), el("span.number")]]));
    const items = [...this.#rows].map(([name, cells]) => {
      const swatch = el("span", { class: `swatch ${tint(name, programs)}`, "aria-hidden": "true" });
      return el("li", swatch, el("span", name), cells);
    });
    replace(this.#list, items.length ? items : el("li.soft", "The monitor has not reported yet."));
  }
}
