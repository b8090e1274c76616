// One job: its progress while it is active, then its result.

import { answer } from "./answer.js";
import { getJson } from "./api.js";
import { el, replace, setText } from "./elements.js";
import { count, counted, duration } from "./figures.js";
import { factsOf, isActive, removeButton, secondsOf, showStatus } from "./jobs.js";
import { announce, problemBox } from "./messages.js";

// Seconds between the first readings of an active job.
const SOON = 0.25;
const FIRST_READINGS = 20;

export function jobView(id) {
  const title = el("h1", { tabindex: -1, autofocus: true }, "Job");
  const status = el("span.badge");
  const about = el("span");
  const place = el("div.sections");
  const done = el("span");
  const left = el("span.soft");
  const progress = el("progress", { "aria-label": "Completed batches" });
  const card = el("section.card.stack", { "aria-label": "Progress" }, el("p.line", done, left), progress);
  let ended = false;
  const remove = removeButton("", {
    // A cancelled job is shown as such; one that has ended is gone, also if it ended during the question.
    onDone: () => {
      if (ended) location.hash = "#/";
    },
    onError: (error) => place.prepend(problemBox(error)),
  });
  remove.element.hidden = true;
  let announced = -1;
  let readings = 0;

  async function show() {
    if (ended) return undefined;
    try {
      const job = await getJson(`v1/jobs/${id}`);
      if (!ended) showJob(job);
    } catch (error) {
      ended = error.status === 404 || error.status === 400;
      if (!ended) throw error;
      setText(title, "No such job");
      remove.element.hidden = true;
      status.hidden = true;
      replace(place, problemBox(error));
    }
    readings += 1;
    return readings < FIRST_READINGS && !ended ? SOON : undefined;
  }

  function showJob(job) {
    ended = !isActive(job);
    setText(title, job.model);
    setText(about, factsOf(job));
    showStatus(status, job);
    remove.show(job);
    remove.element.hidden = false;
    if (ended) {
      announce(`Job ${job.status}.`);
      replace(place, resultOf(job));
    } else showProgress(job, secondsOf(job));
  }

  function showProgress({ status, batches: { total, completed } }, seconds) {
    if (!card.isConnected) replace(place, card);
    progress.max = total;
    progress.value = completed;
    const text = `${count(completed)} of ${counted(total, "batch", "batches")} done`;
    setText(done, status === "queued" ? "Waiting for a worker" : text);
    const rest = completed && seconds ? (seconds / completed) * (total - completed) : null;
    setText(left, rest === null ? "" : `about ${duration(Math.max(1, Math.round(rest)))} left`);
    const quarter = Math.floor((4 * completed) / total);
    if (quarter !== announced)
      announce(`Job ${status}, ${Math.round((100 * completed) / total)} percent done`);
    announced = quarter;
  }

  const head = el(
    "section.tight",
    { "aria-label": "Job" },
    el("a.soft", { href: "#/" }, "← All jobs"),
    el("div.line", title, el("span.buttons", status, remove.element)),
    el("p.soft.buttons", about, el("code", id)),
  );
  return { element: el("div.sections", head, place), show };
}

function resultOf(job) {
  if (job.status === "completed") return answer(job);
  if (job.status === "failed")
    return problemBox({ title: "The job failed", message: job.error?.detail ?? "No reason was recorded." });
  return el(
    "p.note",
    "The job was cancelled, and its rows and values were deleted. To explain the rows, send them again.",
  );
}
