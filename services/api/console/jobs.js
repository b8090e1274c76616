// The list of jobs, newest first, one page at a time.

import { call, getJson } from "/console/api.js";
import { button, card, el, replace, setText } from "/console/elements.js";
import { ago, count, counted, duration } from "/console/figures.js";
import { announce, ask, problemBox } from "/console/messages.js";
import { Poll } from "/console/poll.js";

const TONES = { queued: "", running: "busy", completed: "good", failed: "bad", cancelled: "" };
const FIRST = "/v1/jobs?limit=8";
// Seconds between two readings while a job is active, and otherwise: then a change of the counts causes one.
const ACTIVE = 1;
const IDLE = 30;

export const isActive = (job) => job.status === "queued" || job.status === "running";

export function showStatus(badge, status) {
  setText(badge, status);
  badge.dataset.tone = TONES[status];
}

// The seconds that a job has run for; null if it has not started.
export function secondsOf({ started_at: start, finished_at: end }) {
  if (!start) return null;
  return Math.max(0, ((end ? Date.parse(end) : Date.now()) - Date.parse(start)) / 1000);
}

// Cancels an active job and deletes another one, after a question. Resolves to whether it did.
export async function removeJob(job) {
  const rows = counted(job.rows, "row");
  const [title, text, yes, done] = isActive(job)
    ? [
        "Cancel this job?",
        `Its ${rows} and the values computed so far are deleted.`,
        "Cancel job",
        "cancelled",
      ]
    : ["Delete this job?", `Its ${rows} and their values are deleted permanently.`, "Delete job", "deleted"];
  if (!(await ask({ title, text, yes, no: "Keep job" }))) return false;
  await call(job.links.self, { method: "DELETE" });
  announce(`The job was ${done}.`);
  return true;
}

export class JobList {
  #list = el("ol.jobs.lines");
  #counts = el("p.counts");
  #problem = el("div");
  #newer = button(".small", "Newest", () => this.#turn(FIRST), { hidden: true });
  #older = button(".small", "Older", () => this.#turn(this.#next), { hidden: true });
  #rows = new Map();
  #page = FIRST;
  #next = null;
  #jobs = null;
  #counted = "";
  #poll = new Poll(() => this.#refresh(), IDLE);

  constructor() {
    const foot = el("div.buttons.jobs-foot", this.#newer, this.#older);
    this.element = card("jobs", "Jobs", this.#counts, this.#problem, this.#list, foot);
  }

  start() {
    this.#poll.start();
  }

  stop() {
    this.#poll.stop();
  }

  show({ jobs }) {
    const counts = JSON.stringify(jobs);
    if (counts !== this.#counted) this.#poll.now();
    this.#counted = counts;
    // Also without a change: "5 s ago" has become wrong.
    if (this.#jobs) this.#lay(this.#jobs);
    const words = Object.entries(jobs ?? {}).filter(([, number]) => number);
    replace(
      this.#counts,
      words.map(([status, number]) => el("span", el("b", count(number)), ` ${status}`)),
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
    return jobs.some(isActive) ? ACTIVE : IDLE;
  }

  #turn(page) {
    this.#page = page;
    this.#poll.now();
  }

  #lay(jobs) {
    const onChange = (error) => {
      replace(this.#problem, error && problemBox(error));
      this.#poll.now();
    };
    const rows = new Map(jobs.map(({ id }) => [id, this.#rows.get(id) ?? new Row(onChange)]));
    const same = [...rows.keys()].join() === [...this.#rows.keys()].join();
    this.#rows = rows;
    for (const job of jobs) rows.get(job.id).show(job);
    if (same && jobs.length) return;
    const elements = [...rows.values()].map((row) => row.element);
    replace(this.#list, jobs.length ? elements : el("li.soft", "No jobs yet. Try the example rows."));
  }
}

class Row {
  #name = el("a.name");
  #about = el("small");
  #status = el("span.badge");
  #progress = el("progress");
  #remove = button(".small.quiet", "", () => this.#onRemove());
  #onChange;
  #job = null;

  constructor(onChange) {
    this.#onChange = onChange;
    const doing = el("span.doing", this.#status, this.#progress);
    this.element = el("li", el("span", this.#name, el("br"), this.#about), doing, this.#remove);
  }

  show(job) {
    this.#job = job;
    const { model, batches } = job;
    const active = isActive(job);
    const rows = counted(job.rows, "row");
    const seconds = secondsOf(job);
    const facts = [rows, ago(job.created_at), seconds !== null && !active && `took ${duration(seconds)}`];
    setText(this.#name, model);
    this.#name.setAttribute("href", `#/jobs/${job.id}`);
    setText(this.#about, facts.filter(Boolean).join(" · "));
    showStatus(this.#status, job.status);
    this.#progress.hidden = !active;
    this.#progress.max = batches.total;
    this.#progress.value = batches.completed;
    this.#progress.setAttribute("aria-label", `Completed batches of ${model}`);
    setText(this.#remove, active ? "Cancel" : "Delete");
    this.#remove.setAttribute("aria-label", `${this.#remove.textContent} the job of ${rows} with ${model}`);
  }

  async #onRemove() {
    try {
      if (await removeJob(this.#job)) this.#onChange(null);
    } catch (error) {
      this.#onChange(error);
    }
  }
}
