// One job: its progress while it runs, and its answer when it is there.

import { getJson } from "/console/api.js";
import { announce } from "/console/announce.js";
import { Answer } from "/console/answer.js";
import { el, replace, say } from "/console/elements.js";
import { ago, batches, count, counted, duration } from "/console/figures.js";
import { TONES, isActive, removeJob, secondsOf } from "/console/jobs.js";
import { Poll } from "/console/poll.js";
import { problemBox } from "/console/problem.js";

// Seconds between two looks at a job that runs, at first and later.
const SOON = 0.25;
const LATER = 1;
const METHODS = { tree_path_dependent: "path dependent", interventional: "interventional" };

export class JobView {
  #id;
  #gauge;
  #title = el("h1", { tabindex: "-1" }, "Job");
  #status = el("span", { class: "badge" });
  #about = el("p", { class: "about" });
  #remove = el("button", { type: "button", class: "small", hidden: true, onclick: () => this.#delete() });
  #place = el("div", { class: "stack" });
  #progress = el("progress", { class: "tall", "aria-label": "Batches that are done" });
  #done = el("span");
  #left = el("span", { class: "soft" });
  #announced = -1;
  #looks = 0;
  #job = null;
  #ended = false;
  #poll = new Poll(() => this.#refresh(), LATER);

  constructor(id, gauge) {
    this.#id = id;
    this.#gauge = gauge;
    const head = el(
      "section",
      { class: "job-head", "aria-label": "Job" },
      el("a", { class: "back", href: "#/" }, "← All jobs"),
      el("div", { class: "line" }, this.#title, el("span", { class: "buttons" }, this.#status, this.#remove)),
      this.#about,
    );
    this.element = el("div", { class: "view" }, head, this.#place);
  }

  start() {
    this.#poll.start();
    this.#title.focus();
  }

  stop() {
    this.#poll.stop();
  }

  async #refresh() {
    this.#looks += 1;
    let job;
    try {
      job = await getJson(`/v1/jobs/${encodeURIComponent(this.#id)}`);
    } catch (error) {
      if (error.status === 404 || error.status === 400) {
        this.#poll.stop();
        say(this.#title, "No such job");
        replace(this.#place, problemBox(error));
      }
      throw error;
    }
    this.#show(job);
    return this.#looks < 20 ? SOON : LATER;
  }

  #show(job) {
    this.#job = job;
    say(this.#title, job.model);
    say(this.#status, job.status);
    this.#status.dataset.tone = TONES[job.status];
    this.#remove.hidden = false;
    say(this.#remove, isActive(job) ? "Cancel" : "Delete");
    const seconds = secondsOf(job);
    const facts = [
      counted(job.rows, "row"),
      METHODS[job.method] ?? job.method,
      `sent ${ago(job.created_at)}`,
    ];
    if (job.finished_at && seconds !== null) facts.push(`took ${duration(seconds)}`);
    if (job.fallback) facts.push("values of a stand-in, which explain nothing real");
    const text = facts.join("\n");
    if (this.#about.dataset.text !== text) {
      this.#about.dataset.text = text;
      replace(
        this.#about,
        facts.map((fact) => el("span", {}, fact)),
        el("code", {}, job.id),
      );
    }
    if (isActive(job)) this.#showProgress(job, seconds);
    else if (!this.#ended) this.#end(job);
  }

  #showProgress(job, seconds) {
    const { total, completed } = job.batches;
    if (!this.#progress.isConnected)
      replace(
        this.#place,
        el(
          "section",
          { class: "card advance", "aria-label": "Progress" },
          el("p", { class: "line" }, this.#done, this.#left),
          this.#progress,
        ),
        this.#gauge.element,
      );
    this.#progress.max = total;
    this.#progress.value = completed;
    say(
      this.#done,
      job.status === "queued" ? "Waiting for a worker" : `${count(completed)} of ${batches(total)} done`,
    );
    const left = completed && seconds ? (seconds / completed) * (total - completed) : null;
    say(this.#left, left === null ? "" : `about ${duration(Math.max(1, Math.round(left)))} left`);
    const quarter = Math.floor((4 * completed) / total);
    if (quarter !== this.#announced)
      announce(`${job.status}, ${Math.round((100 * completed) / total)} percent done`);
    this.#announced = quarter;
  }

  #end(job) {
    this.#ended = true;
    this.#poll.stop();
    announce(`The job is ${job.status}.`);
    if (job.status === "completed") {
      const answer = new Answer(job);
      replace(this.#place, answer.element);
    } else if (job.status === "failed") {
      replace(
        this.#place,
        problemBox({
          title: "The job has failed",
          message: job.error?.detail ?? "The reason is not known.",
          status: 0,
        }),
      );
    } else
      replace(
        this.#place,
        el(
          "p",
          { class: "note" },
          "The job was cancelled. Its rows and values are deleted; send the rows again if you need them.",
        ),
      );
  }

  async #delete() {
    try {
      if (!(await removeJob(this.#job))) return;
      if (isActive(this.#job)) this.#poll.now();
      else location.hash = "#/";
    } catch (error) {
      this.#place.prepend(problemBox(error));
    }
  }
}
