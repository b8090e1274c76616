// Memory as a ruler: the size of each program, where a worker is recycled, and where the container ends.

import { el, replace, setText, svg } from "/console/elements.js";
import { duration, megabytes } from "/console/figures.js";

// Samples in the history, one a second: the number at the start, and the maximum.
const FIRST_SAMPLES = 60;
const SAMPLES = 180;
// The container that Shapbox is made for recycles workers at this share of its memory.
const SHARE = 475 / 512;
// Megabytes between two ticks of a ruler for up to 512 MB; a longer ruler has no more ticks than that one.
const TICK_MB = 64;
const HEIGHT = 100;

export class Gauge {
  #history = [];
  #figure = el("b", "–");
  #room = el("p.about");
  #bar = el("div.ruler-bar");
  #marks = el("div");
  #trace = svg("path.trace");
  #area = svg("path.area");
  #recycle = svg("line.mark", { x2: SAMPLES });
  #span = el("small");
  #ruler = el(
    "div.ruler",
    { role: "meter", "aria-label": "Memory", "aria-valuemin": "0" },
    this.#bar,
    this.#marks,
  );
  #drawnFor = "";

  constructor() {
    const chart = svg(
      "svg.history",
      { viewBox: `0 0 ${SAMPLES} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      this.#area,
      this.#recycle,
      svg("line.mark.limit", { x2: SAMPLES }),
      this.#trace,
    );
    const figure = el("p.figure", this.#figure, "MB in use");
    this.element = el(
      "section.card.memory",
      { "aria-labelledby": "memory" },
      el("div", el("h2#memory", "Memory"), figure, this.#room),
      el("div.history-box", this.#span, chart),
      this.#ruler,
    );
  }

  show({ memory, programs }) {
    const used = memory.working_set_bytes ?? 0;
    const recycleAt = memory.recycle_at_bytes;
    const limited = memory.container_limit_bytes !== null;
    const end = limited ? memory.container_limit_bytes : Math.round(recycleAt / SHARE);
    setText(this.#figure, used ? megabytes(used) : "–");
    setText(this.#room, roomText(used, recycleAt, limited));
    this.element.classList.toggle("pressed", used >= recycleAt);
    this.#showMarks(recycleAt, end, limited);
    this.#showBar(programs, used, recycleAt, end);
    this.#showHistory(used, end);
    const text = `${megabytes(used)} of ${megabytes(end)} MB; at ${megabytes(recycleAt)} MB a worker is recycled`;
    this.#ruler.setAttribute("aria-valuemax", megabytes(end));
    this.#ruler.setAttribute("aria-valuenow", megabytes(used));
    this.#ruler.setAttribute("aria-valuetext", text);
  }

  #showMarks(recycleAt, end, limited) {
    const drawn = `${recycleAt} ${end} ${limited}`;
    if (drawn === this.#drawnFor) return;
    this.#drawnFor = drawn;
    const recycle = el("div.ruler-mark", el("span", `recycle ${megabytes(recycleAt)}`));
    recycle.style.left = percent(recycleAt, end);
    const limit = el("div.ruler-mark.limit", el("span", limited && el("span", "limit "), megabytes(end)));
    replace(this.#marks, ticks(end / 2 ** 20), recycle, limit);
    const height = HEIGHT * (1 - recycleAt / end);
    this.#recycle.setAttribute("y1", height);
    this.#recycle.setAttribute("y2", height);
  }

  #showBar(programs, used, recycleAt, end) {
    const shares = programs.filter((program) => program.memory_bytes > 0);
    const sum = shares.reduce((total, program) => total + program.memory_bytes, 0);
    // PSS is measured less often than the working set, and is scaled so that its sum fits.
    const scale = sum > used ? used / sum : 1;
    const parts = shares.map(({ name, memory_bytes: bytes }) =>
      part(tint(name, programs), percent(bytes * scale, end), name),
    );
    if (used > sum) parts.push(part("tint-other", percent(used - sum, end), "kernel and files"));
    // Parts with the same titles keep their elements, so that their widths can glide.
    const before = [...this.#bar.children];
    const same =
      before.length === parts.length + 1 && parts.every(({ title }, place) => title === before[place].title);
    if (same) for (const [place, { style }] of parts.entries()) before[place].style.width = style.width;
    else replace(this.#bar, parts, part("beyond", percent(end - recycleAt, end), ""));
  }

  #showHistory(used, end) {
    this.#history = [...this.#history, used].slice(-SAMPLES);
    const samples = Math.max(FIRST_SAMPLES, this.#history.length);
    const x = (place) => ((SAMPLES * (samples - this.#history.length + place)) / (samples - 1)).toFixed(2);
    const y = (bytes) => (HEIGHT * (1 - Math.min(1, bytes / end))).toFixed(2);
    const line = `M${this.#history.map((bytes, place) => `${x(place)} ${y(bytes)}`).join("L")}`;
    this.#trace.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}L${SAMPLES} ${HEIGHT}L${x(0)} ${HEIGHT}Z`);
    setText(this.#span, `last ${duration(samples)}`);
  }
}

// The class that colours a program, in the ruler and in the list of programs.
export function tint(name, programs) {
  const worker = /^worker-(\d+)$/.exec(name);
  if (worker) return `tint-worker${Number(worker[1]) % 2 ? "" : " even"}`;
  const others = programs.filter((program) => !program.name.startsWith("worker-"));
  return `tint-${others.findIndex((program) => program.name === name) % 4}`;
}

function part(tintClass, width, title) {
  const element = el("i", { class: tintClass, title });
  element.style.width = width;
  return element;
}

function ticks(endMb) {
  const step = TICK_MB * 2 ** Math.max(0, Math.ceil(Math.log2(endMb / TICK_MB / 8)));
  const all = [];
  // The last step is left free for the label of the limit.
  for (let mb = 0; mb <= endMb - step; mb += step) {
    const tick = el("small.ruler-tick", String(mb));
    tick.style.left = percent(mb, endMb);
    all.push(tick);
  }
  return all;
}

function roomText(used, recycleAt, limited) {
  if (!used) return "Not measured yet";
  if (used >= recycleAt) return "Over the mark: the largest worker is being recycled";
  return `${megabytes(recycleAt - used)} MB until a worker is recycled${limited ? "" : "; no container limit is set"}`;
}

const percent = (part, whole) => `${((100 * part) / whole).toFixed(3)}%`;
