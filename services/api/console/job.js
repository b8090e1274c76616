// One job: its progress while it is active, then its result.

import { Answer } from "/console/answer.js";
import { getJson } from "/console/api.js";
import { button, el, replace, setText } from "/console/elements.js";
import { ago, count, counted, duration } from "/console/figures.js";
import { isActive, removeJob, secondsOf, showStatus } from "/console/jobs.js";
import { announce, problemBox } from "/console/messages.js";
import { Poll } from "/console/poll.js";

// Seconds between two readings of an active job: for the first ones, and later.
const SOON = 0.25;
const LATER = 1;
const FIRST_READINGS = 20;
const METHODS = { tree_path_dependent: "path dependent", interventional: "interventional" };

export class JobView {
  #id;
  #gauge;
  #title = el("h1", { tabindex: "-1" }, "Job");
  #status = el("span.badge");
  #about = el("p.about");
  #remove = button(".small", "", () => this.#onRemove(), { hidden: true });
  #place = el("div.stack");
  #progress = el("progress.tall", { "aria-label": "Completed batches" });
  #done = el("span");
  #left = el("span.soft");
  #announced = -1;
  #readings = 0;
  #job = null;
  #poll = new Poll(() => this.#refresh(), LATER);

  constructor(id, gauge) {
    this.#id = id;
    this.#gauge = gauge;
    const line = el("div.line", this.#title, el("span.buttons", this.#status, this.#remove));
    const back = el("a.back", { href: "#/" }, "← All jobs");
    const head = el("section.job-head", { "aria-label": "Job" }, back, line, this.#about);
    this.element = el("div.stack", head, this.#place);
  }

  start() {
    this.#poll.start();
    this.#title.focus();
  }

  stop() {
    this.#poll.stop();
  }

  async #refresh() {
    this.#readings += 1;
    let job;
    try {
      job = await getJson(`/v1/jobs/${this.#id}`);
    } catch (error) {
      if (error.status === 404 || error.status === 400) {
        this.#poll.stop();
        setText(this.#title, "No such job");
        replace(this.#place, problemBox(error));
      }
      throw error;
    }
    this.#show(job);
    return this.#readings < FIRST_READINGS ? SOON : LATER;
  }

  #show(job) {
    this.#job = job;
    const active = isActive(job);
    setText(this.#title, job.model);
    showStatus(this.#status, job.status);
    this.#remove.hidden = false;
    setText(this.#remove, active ? "Cancel" : "Delete");
    const seconds = secondsOf(job);
    const facts = [
      counted(job.rows, "row"),
      METHODS[job.method] ?? job.method,
      `sent ${ago(job.created_at)}`,
    ];
    if (job.finished_at && seconds !== null) facts.push(`took ${duration(seconds)}`);
    if (job.fallback) facts.push("values of a placeholder model, without meaning");
    const text = facts.join("\n");
    if (this.#about.dataset.text !== text) {
      this.#about.dataset.text = text;
      replace(
        this.#about,
        facts.map((fact) => el("span", fact)),
        el("code", job.id),
      );
    }
    if (active) this.#showProgress(job, seconds);
    else {
      this.#poll.stop();
      announce(`Job ${job.status}.`);
      replace(this.#place, resultOf(job));
    }
  }

  #showProgress({ status, batches }, seconds) {
    const { total, completed } = batches;
    if (!this.#progress.isConnected) {
      const line = el("p.line", this.#done, this.#left);
      const progress = el("section.card.advance", { "aria-label": "Progress" }, line, this.#progress);
      replace(this.#place, progress, this.#gauge.element);
    }
    this.#progress.max = total;
    this.#progress.value = completed;
    const done = `${count(completed)} of ${counted(total, "batch", "batches")} done`;
    setText(this.#done, status === "queued" ? "Waiting for a worker" : done);
    const left = completed && seconds ? (seconds / completed) * (total - completed) : null;
    setText(this.#left, left === null ? "" : `about ${duration(Math.max(1, Math.round(left)))} left`);
    const quarter = Math.floor((4 * completed) / total);
    if (quarter !== this.#announced)
      announce(`Job ${status}, ${Math.round((100 * completed) / total)} percent done`);
    this.#announced = quarter;
  }

  async #onRemove() {
    try {
      if (!(await removeJob(this.#job))) return;
      if (isActive(this.#job)) this.#poll.now();
      else location.hash = "#/";
    } catch (error) {
      this.#place.prepend(problemBox(error));
    }
  }
}

function resultOf(job) {
  if (job.status === "completed") return new Answer(job).element;
  if (job.status === "failed")
    return problemBox({ title: "The job failed", message: job.error?.detail ?? "No reason was recorded." });
  return el(
    "p.note",
    "The job was cancelled, and its rows and values were deleted. To explain the rows, send them again.",
  );
}
