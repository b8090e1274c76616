// The list of jobs, newest first, a page at a time.

import { call, getJson } from "/console/api.js";
import { announce } from "/console/announce.js";
import { el, replace, say } from "/console/elements.js";
import { ago, count, counted, duration } from "/console/figures.js";
import { Poll } from "/console/poll.js";
import { problemBox } from "/console/problem.js";
import { ask } from "/console/question.js";

export const TONES = { queued: "", running: "busy", completed: "good", failed: "bad", cancelled: "" };
const PAGE = 8;
const FIRST = `/v1/jobs?limit=${PAGE}`;
// Seconds between two looks, while something runs and while nothing does: then the counts tell when to look.
const LIVELY = 1;
const CALM = 30;

export const isActive = (job) => job.status === "queued" || job.status === "running";

// How long a job has run or ran, in seconds; null if it has not begun.
export function secondsOf(job, now = Date.now()) {
  if (!job.started_at) return null;
  return Math.max(
    0,
    ((job.finished_at ? Date.parse(job.finished_at) : now) - Date.parse(job.started_at)) / 1000,
  );
}

export async function removeJob(job) {
  const active = isActive(job);
  const question = active
    ? {
        title: "Cancel this job?",
        text: `Its ${counted(job.rows, "row")} and the values so far are deleted.`,
        yes: "Cancel the job",
      }
    : {
        title: "Delete this job?",
        text: `Its ${counted(job.rows, "row")} and values are deleted for good.`,
        yes: "Delete it",
      };
  if (!(await ask(question))) return false;
  await call(job.links.self, { method: "DELETE" });
  announce(active ? "The job is cancelled." : "The job is deleted.");
  return true;
}

export class JobList {
  #list = el("ol", { class: "jobs" });
  #counts = el("p", { class: "counts" });
  #problem = el("div");
  #newer = el(
    "button",
    { type: "button", class: "small", hidden: true, onclick: () => this.#turn(null) },
    "Newest",
  );
  #older = el(
    "button",
    { type: "button", class: "small", hidden: true, onclick: () => this.#turn(this.#next) },
    "Older",
  );
  #rows = new Map();
  #page = FIRST;
  #next = null;
  #jobs = null;
  #counted = "";
  #poll = new Poll(() => this.#refresh(), CALM);

  constructor() {
    this.element = el(
      "section",
      { class: "card", "aria-labelledby": "jobs" },
      el("div", { class: "card-head" }, el("h2", { id: "jobs" }, "Jobs"), this.#counts),
      this.#problem,
      this.#list,
      el("div", { class: "buttons jobs-foot" }, this.#newer, this.#older),
    );
  }

  start() {
    this.#poll.start();
  }

  stop() {
    this.#poll.stop();
  }

  show({ jobs }) {
    const counted = JSON.stringify(jobs);
    if (counted !== this.#counted) this.#poll.now();
    this.#counted = counted;
    // Also where nothing has changed: "5 s ago" does not stay true.
    if (this.#jobs) this.#lay(this.#jobs);
    const words = Object.entries(jobs ?? {}).filter(([, number]) => number);
    replace(
      this.#counts,
      words.map(([status, number]) => el("span", {}, el("b", {}, count(number)), ` ${status}`)),
    );
  }

  async #refresh() {
    const page = this.#page;
    const { jobs, next } = await getJson(page);
    if (page !== this.#page) return 0;
    this.#next = next;
    this.#older.hidden = next === null;
    this.#newer.hidden = page === FIRST;
    this.#jobs = jobs;
    this.#lay(jobs);
    return jobs.some(isActive) ? LIVELY : CALM;
  }

  #turn(page) {
    this.#page = page ?? FIRST;
    this.#poll.now();
  }

  #lay(jobs) {
    const rows = new Map(
      jobs.map((job) => [job.id, this.#rows.get(job.id) ?? new Row((error) => this.#changed(error))]),
    );
    const same = [...rows.keys()].join() === [...this.#rows.keys()].join();
    this.#rows = rows;
    for (const job of jobs) rows.get(job.id).show(job);
    if (!same || !jobs.length)
      replace(
        this.#list,
        jobs.length
          ? [...rows.values()].map((row) => row.element)
          : el("li", { class: "empty" }, "No jobs yet. Example rows are a good start."),
      );
  }

  #changed(error) {
    replace(this.#problem, error && problemBox(error));
    this.#poll.now();
  }
}

class Row {
  #name = el("a", { class: "name" });
  #about = el("span", { class: "about" });
  #status = el("span", { class: "badge" });
  #progress = el("progress");
  #remove = el("button", { type: "button", class: "small quiet" });
  #job = null;

  constructor(onChange) {
    this.#remove.addEventListener("click", async () => {
      try {
        if (await removeJob(this.#job)) onChange(null);
      } catch (error) {
        onChange(error);
      }
    });
    this.element = el(
      "li",
      {},
      el("span", {}, this.#name, el("br"), this.#about),
      el("span", { class: "doing" }, this.#status, this.#progress),
      this.#remove,
    );
  }

  show(job) {
    this.#job = job;
    const seconds = secondsOf(job);
    say(this.#name, job.model);
    this.#name.setAttribute("href", `#/jobs/${job.id}`);
    say(
      this.#about,
      [
        counted(job.rows, "row"),
        ago(job.created_at),
        seconds !== null && !isActive(job) && `took ${duration(seconds)}`,
      ]
        .filter(Boolean)
        .join(" · "),
    );
    say(this.#status, job.status);
    this.#status.dataset.tone = TONES[job.status];
    this.#progress.hidden = !isActive(job);
    this.#progress.max = job.batches.total;
    this.#progress.value = job.batches.completed;
    this.#progress.setAttribute("aria-label", `Batches of ${job.model} that are done`);
    say(this.#remove, isActive(job) ? "Cancel" : "Delete");
    this.#remove.setAttribute(
      "aria-label",
      `${this.#remove.textContent} the job of ${counted(job.rows, "row")} with ${job.model}`,
    );
  }
}
