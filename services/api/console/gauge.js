// Memory as a ruler: what each program takes, up to where a worker is recycled, and where the container ends.

import { el, replace, say, svg } from "/console/elements.js";
import { duration, megabytes } from "/console/figures.js";

// Samples that the history shows, one a second: so many at the start, and so many at most.
const FIRST_SAMPLES = 60;
const SAMPLES = 180;
// The container that Shapbox is made for, and the share of it at which workers are recycled.
const SHARE = 475 / 512;
const TICK_MB = 64;
const HEIGHT = 100;

export class Gauge {
  #history = [];
  #figure = el("b", {}, "–");
  #room = el("p", { class: "room" });
  #bar = el("div", { class: "ruler-bar" });
  #marks = el("div");
  #trace = svg("path", { class: "trace" });
  #area = svg("path", { class: "area" });
  #recycle = svg("line", { class: "mark", x1: 0, x2: SAMPLES });
  #limit = svg("line", { class: "mark limit", x1: 0, x2: SAMPLES, y1: 0, y2: 0 });
  #span = el("small");
  #ruler;
  #drawnFor = "";

  constructor() {
    const chart = svg(
      "svg",
      {
        class: "history",
        viewBox: `0 0 ${SAMPLES} ${HEIGHT}`,
        preserveAspectRatio: "none",
        "aria-hidden": "true",
      },
      this.#area,
      this.#recycle,
      this.#limit,
      this.#trace,
    );
    this.#ruler = el(
      "div",
      { class: "ruler", role: "meter", "aria-label": "Memory", "aria-valuemin": "0" },
      this.#bar,
      this.#marks,
    );
    this.element = el(
      "section",
      { class: "card memory", "aria-labelledby": "memory" },
      el(
        "div",
        {},
        el("h2", { id: "memory" }, "Memory"),
        el("p", { class: "figure" }, this.#figure, "MB in use"),
        this.#room,
      ),
      el("div", { class: "history-box" }, chart, this.#span),
      this.#ruler,
    );
  }

  show({ memory, programs }) {
    const used = memory.working_set_bytes ?? 0;
    const recycleAt = memory.recycle_at_bytes;
    const end = memory.container_limit_bytes ?? Math.round(recycleAt / SHARE);
    say(this.#figure, used ? megabytes(used).toFixed(0) : "–");
    say(this.#room, room(used, recycleAt));
    this.element.classList.toggle("pressed", used >= recycleAt);
    this.#showMarks(recycleAt, end, memory.container_limit_bytes !== null);
    this.#showBar(programs, used, recycleAt, end);
    this.#showHistory(used, recycleAt, end);
    this.#ruler.setAttribute("aria-valuemax", megabytes(end).toFixed(0));
    this.#ruler.setAttribute("aria-valuenow", megabytes(used).toFixed(0));
    this.#ruler.setAttribute(
      "aria-valuetext",
      `${megabytes(used).toFixed(0)} of ${megabytes(end).toFixed(0)} MB; at ${megabytes(recycleAt).toFixed(0)} MB a worker is recycled`,
    );
  }

  #showMarks(recycleAt, end, limited) {
    const drawn = `${recycleAt} ${end} ${limited}`;
    if (drawn === this.#drawnFor) return;
    this.#drawnFor = drawn;
    const recycle = el(
      "div",
      { class: "ruler-mark" },
      el("span", {}, `recycle ${megabytes(recycleAt).toFixed(0)}`),
    );
    recycle.style.left = percent(recycleAt, end);
    const limit = el(
      "div",
      { class: "ruler-mark limit" },
      el("span", {}, `${limited ? "limit" : "no limit set"} ${megabytes(end).toFixed(0)}`),
    );
    limit.style.left = "100%";
    replace(this.#marks, ticks(megabytes(end)), recycle, limit);
    const height = HEIGHT * (1 - recycleAt / end);
    this.#recycle.setAttribute("y1", height);
    this.#recycle.setAttribute("y2", height);
  }

  #showBar(programs, used, recycleAt, end) {
    const shares = programs.filter((program) => program.memory_bytes > 0);
    const sum = shares.reduce((total, program) => total + program.memory_bytes, 0);
    // PSS is measured less often than the working set: what it adds up to is made to fit.
    const scale = sum > used ? used / sum : 1;
    const parts = shares.map((program) =>
      part(tint(program.name, programs), program.memory_bytes * scale, end, program.name),
    );
    if (used > sum) parts.push(part("tint-other", used - sum, end, "kernel and files"));
    const beyond = el("i", { class: "beyond" });
    beyond.style.width = percent(end - recycleAt, end);
    // The same parts keep their elements, so that their widths can glide.
    const before = [...this.#bar.children];
    const same =
      before.length === parts.length + 1 && parts.every((one, place) => one.title === before[place].title);
    if (!same) replace(this.#bar, parts, beyond);
    else parts.forEach((one, place) => (before[place].style.width = one.style.width));
  }

  #showHistory(used, recycleAt, end) {
    this.#history = [...this.#history, used].slice(-SAMPLES);
    const samples = Math.max(FIRST_SAMPLES, this.#history.length);
    const right = (place) =>
      ((SAMPLES * (samples - this.#history.length + place)) / (samples - 1)).toFixed(2);
    const up = (bytes) => (HEIGHT * (1 - Math.min(1, bytes / end))).toFixed(2);
    const line = `M${this.#history.map((bytes, place) => `${right(place)} ${up(bytes)}`).join("L")}`;
    this.#trace.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}L${SAMPLES} ${HEIGHT}L${right(0)} ${HEIGHT}Z`);
    say(this.#span, `last ${duration(samples)}`);
  }
}

// The class that colours a program, here and in the list of programs.
export function tint(name, programs) {
  const worker = /^worker-(\d+)$/.exec(name);
  if (worker) return `tint-worker${Number(worker[1]) % 2 ? "" : " even"}`;
  const others = programs.filter((program) => !program.name.startsWith("worker-"));
  const place = others.findIndex((program) => program.name === name);
  return place < 0 ? "tint-other" : `tint-${place % 4}`;
}

function part(tintClass, bytes, end, name) {
  const element = el("i", { class: tintClass, title: name });
  element.style.width = percent(bytes, end);
  return element;
}

function ticks(endMb) {
  const all = [];
  // The last one would stand in the way of the limit's own figure.
  for (let mb = 0; mb <= endMb - TICK_MB; mb += TICK_MB) {
    const tick = el("small", { class: "ruler-tick" }, String(mb));
    tick.style.left = percent(mb, endMb);
    all.push(tick);
  }
  return all;
}

function room(used, recycleAt) {
  const left = megabytes(recycleAt - used).toFixed(0);
  if (!used) return "Not measured yet.";
  return used < recycleAt
    ? `${left} MB until a worker is recycled`
    : "At its mark: the largest worker is being recycled";
}

const percent = (part, whole) => `${((100 * part) / whole).toFixed(3)}%`;
