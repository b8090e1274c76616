// The view after signing in: the form for rows, the jobs, and the appliance beside them.

import { el, replace } from "/console/elements.js";
import { Explain } from "/console/explain.js";
import { JobList } from "/console/jobs.js";
import { ProgramList } from "/console/programs.js";
import { Queue } from "/console/queue.js";

export class Home {
  #gauge;
  #top = el("div");
  #jobs = new JobList();
  #programs = new ProgramList();
  #queue = new Queue();

  // The gauge is shared with the view of a job, so that its history continues.
  constructor(gauge) {
    this.#gauge = gauge;
    const work = el("div.stack", new Explain().element, this.#jobs.element);
    const aside = el(
      "aside.stack",
      { "aria-label": "Appliance" },
      this.#queue.element,
      this.#programs.element,
    );
    this.element = el("div.stack", el("h1.unseen", "Console"), this.#top, el("div.columns", work, aside));
  }

  start() {
    replace(this.#top, this.#gauge.element);
    this.#jobs.start();
  }

  stop() {
    this.#jobs.stop();
  }

  show(appliance) {
    for (const part of [this.#jobs, this.#programs, this.#queue]) part.show(appliance);
  }
}
