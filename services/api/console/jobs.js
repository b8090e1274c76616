// The list of jobs, newest first, one page at a time, and what a job's own view shares with it.

import { call, getJson } from "./api.js";
import { METHODS } from "./choices.js";
import { button, card, el, replace, setBadge, setText } from "./elements.js";
import { ago, count, counted, duration } from "./figures.js";
import { announce, ask, problemBox } from "./messages.js";

const TONES = { running: "busy", completed: "good", failed: "bad" };
const FIRST = "v1/jobs?limit=8";
// Milliseconds between two readings while no job is active; a change of the counts causes one at once.
const IDLE = 30_000;

export const isActive = ({ status }) => status === "queued" || status === "running";

export const showStatus = (badge, { status }) => setBadge(badge, status, TONES[status] ?? "");

// The seconds that a job has run for; null if it has not started.
export function secondsOf({ started_at: start, finished_at: end }) {
  if (!start) return null;
  return Math.max(0, ((end ? Date.parse(end) : Date.now()) - Date.parse(start)) / 1000);
}

export function factsOf(job) {
  const method = METHODS[job.method]?.label.toLowerCase() ?? job.method;
  const facts = [counted(job.rows, "row"), method, ago(job.created_at)];
  const seconds = secondsOf(job);
  if (job.finished_at && seconds !== null) facts.push(`took ${duration(seconds)}`);
  if (job.fallback) facts.push("values of a placeholder model, without meaning");
  return facts.join(" · ");
}

// A button that cancels an active job and deletes another one, after a question.
export function removeButton(classes, { onDone, onError }) {
  let shown = null;
  async function remove() {
    const job = shown;
    const rows = counted(job.rows, "row");
    const question = isActive(job)
      ? {
          title: "Cancel this job?",
          text: `Its ${rows} and the values computed so far are deleted.`,
          yes: "Cancel job",
        }
      : {
          title: "Delete this job?",
          text: `Its ${rows} and their values are deleted permanently.`,
          yes: "Delete job",
        };
    try {
      if (!(await ask({ ...question, no: "Keep job" }))) return;
      await call(job.links.self, { method: "DELETE" });
      announce(`The job was ${isActive(job) ? "cancelled" : "deleted"}.`);
      onDone(job);
    } catch (error) {
      onError(error);
    }
  }
  const element = button(`.small${classes}`, "", remove);
  const show = (job) => {
    shown = job;
    setText(element, isActive(job) ? "Cancel" : "Delete");
  };
  return { element, show };
}

export function jobList() {
  const list = el("ol.jobs.lines");
  const counts = el("small");
  const problem = el("div");
  const newer = button(".small", "Newest", () => turn(FIRST), { hidden: true });
  const older = button(".small", "Older", () => turn(next), { hidden: true });
  const foot = el("div.buttons", newer, older);
  let rows = new Map();
  let jobs = [];
  let page = FIRST;
  let next = null;
  let shown = null;
  let readAt = 0;

  async function refresh() {
    const asked = page;
    readAt = Date.now();
    const answer = await getJson(asked);
    if (asked !== page) return;
    ({ jobs, next } = answer);
    older.hidden = next === null;
    newer.hidden = page === FIRST;
    lay();
  }

  const onError = (error) => replace(problem, problemBox(error));

  function retry() {
    replace(problem);
    refresh().catch(onError);
  }

  function turn(other) {
    page = other;
    retry();
  }

  function lay() {
    const before = [...rows.keys()].join();
    rows = new Map(jobs.map(({ id }) => [id, rows.get(id) ?? jobLine({ onDone: retry, onError })]));
    for (const job of jobs) rows.get(job.id).show(job);
    // The same lines keep their elements, and the focus.
    if (jobs.length && before === [...rows.keys()].join()) return;
    const elements = [...rows.values()].map((row) => row.element);
    replace(list, jobs.length ? elements : el("li.soft", "No jobs yet. Try the example rows."));
  }

  return {
    element: card("jobs", "Jobs", counts, problem, list, foot),
    async show(appliance) {
      const words = Object.entries(appliance.jobs ?? {}).filter(([, number]) => number);
      const text = words.map(([status, number]) => `${count(number)} ${status}`).join(" · ");
      setText(counts, text);
      if (!appliance.jobs) return; // Redis is away, and would be asked for the list
      // Also without a change: "5 s ago" has become wrong.
      if (shown !== text || jobs.some(isActive) || Date.now() > readAt + IDLE) await refresh();
      else lay();
      shown = text;
    },
  };
}

function jobLine(handlers) {
  const name = el("a.name");
  const about = el("small");
  const badge = el("span.badge");
  const progress = el("progress");
  const remove = removeButton(".quiet", handlers);
  return {
    element: el("li", el("span", name, el("br"), about), el("span.doing", badge, progress), remove.element),
    show(job) {
      setText(name, job.model);
      name.href = `#/jobs/${job.id}`;
      setText(about, factsOf(job));
      showStatus(badge, job);
      progress.hidden = !isActive(job);
      progress.max = job.batches.total;
      progress.value = job.batches.completed;
      progress.ariaLabel = `Completed batches of ${job.model}`;
      remove.show(job);
      remove.element.ariaLabel = `${remove.element.textContent} the job of ${counted(job.rows, "row")} with ${job.model}`;
    },
  };
}
