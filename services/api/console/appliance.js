// The appliance beside the work: its memory by program, its queue, and how Redis and the disk are doing.

import { card, el, replace, setBadge, setText } from "./elements.js";
import { count, duration, megabytes, size } from "./figures.js";

const STATES = {
  RUNNING: ["running", "good"],
  STARTING: ["starting", "busy"],
  STOPPING: ["stopping", "warn"],
  BACKOFF: ["restarting soon", "warn"],
  EXITED: ["exited", "bad"],
  STOPPED: ["stopped", "warn"],
  FATAL: ["failed", "bad"],
};
// The container that Shapbox is made for recycles workers at this share of its memory.
const SHARE = 475 / 512;

// Waiting batches, the workers, Redis and the disk.
export function queue() {
  const facts = {};
  const line = (name, label) => {
    facts[name] = el(`dd#${name}`);
    return [el("dt", label), facts[name]];
  };
  const list = el(
    "dl.facts",
    line("interactive", "Interactive batches"),
    line("bulk", "Bulk batches"),
    line("workers", "Workers"),
    line("latency", "Redis latency"),
    line("redis", "Redis memory"),
    line("disk", "Disk"),
  );
  return {
    element: card("queue", "Queue", null, list),
    show({ queues, workers, redis, storage }) {
      const { used_bytes: used, free_bytes: free } = storage;
      const limit = redis.memory_limit_bytes ? ` of ${size(redis.memory_limit_bytes)}` : "";
      setText(facts.interactive, waiting(queues?.interactive));
      setText(facts.bulk, waiting(queues?.bulk));
      setText(facts.workers, crew(workers));
      setText(facts.latency, redis.up ? duration(redis.ping_seconds) : "no response");
      setText(facts.redis, redis.up ? size(redis.memory_bytes) + limit : "–");
      const disk = [used !== null && `${size(used)} used`, free !== null && `${size(free)} free`];
      setText(facts.disk, disk.filter(Boolean).join(", ") || "remote");
    },
  };
}

// Memory as a ruler: the size of each program, where a worker is recycled, and where the container ends.
// The programs, with their states and sizes, are its legend.
export function memory() {
  const figure = el("b");
  const room = el("small");
  const ruler = el("div.ruler", { role: "meter", "aria-label": "Memory", "aria-valuemin": 0 });
  const mark = el("small.mark");
  const edge = el("small.limit");
  const list = el("ul.programs.lines");
  const other = el("i", { title: "kernel and files" });
  let lines = new Map();

  function lay(programs) {
    lines = new Map(programs.map((program, place) => [program.name, programLine(program, place)]));
    const parts = [...lines.values()].map(({ part }) => part);
    const items = [...lines.values()].map(({ item }) => item);
    replace(ruler, parts, other);
    replace(list, items.length ? items : el("li.soft", "The monitor has not reported yet."));
  }

  function showScale(used, recycleAt, limit) {
    // Without a limit, the scale ends at the size that recycling at this mark is made for.
    const end = limit ?? Math.round(recycleAt / SHARE);
    setText(mark, `recycle ${megabytes(recycleAt)}`);
    setText(edge, `${limit === null ? "" : "limit "}${megabytes(end)}`);
    ruler.style.setProperty("--recycle", percent(recycleAt, end));
    ruler.classList.toggle("pressed", used >= recycleAt);
    ruler.setAttribute("aria-valuemax", megabytes(end));
    ruler.setAttribute("aria-valuenow", megabytes(used));
    const text = `${megabytes(used)} of ${megabytes(end)} MB; at ${megabytes(recycleAt)} MB a worker is recycled`;
    ruler.setAttribute("aria-valuetext", text);
    return end;
  }

  return {
    element: card(
      "memory",
      "Memory",
      room,
      el("p.figure", figure, " MB in use"),
      ruler,
      el("p.scale", el("small", "0"), mark, edge),
      list,
    ),
    show({
      memory: { working_set_bytes: measured, recycle_at_bytes: recycleAt, container_limit_bytes: limit },
      programs,
    }) {
      const used = measured ?? 0;
      setText(figure, used ? megabytes(used) : "–");
      setText(room, roomText(used, recycleAt, limit));
      const end = showScale(used, recycleAt, limit);
      if (!programs.length || programs.map(({ name }) => name).join() !== [...lines.keys()].join())
        lay(programs);
      // PSS is measured less often than the working set, and is scaled so that its sum fits.
      const sum = programs.reduce((total, program) => total + program.memory_bytes, 0);
      const factor = sum > used ? used / sum : 1;
      for (const program of programs)
        lines.get(program.name).show(program, percent(program.memory_bytes * factor, end));
      other.style.width = percent(Math.max(0, used - sum), end);
    },
  };
}

// A program in the list, and its part of the ruler: workers are blue, the others shades of grey.
function programLine({ name }, place) {
  const [tint, share] = name.startsWith("worker-")
    ? ["--work", 100 - 30 * (place % 2)]
    : ["--ink", 85 - 20 * (place % 4)];
  const background = `color-mix(in srgb, var(${tint}) ${share}%, var(--card))`;
  const part = el("i", { title: name });
  const swatch = el("i", { "aria-hidden": "true" });
  part.style.background = swatch.style.background = background;
  const badge = el("span.badge");
  const bytes = el("span.number");
  return {
    part,
    item: el("li", swatch, el("span", name), badge, bytes),
    show(program, width) {
      setBadge(badge, ...(STATES[program.state] ?? [program.state.toLowerCase(), "warn"]));
      setText(bytes, program.memory_bytes === null ? "–" : `${megabytes(program.memory_bytes)} MB`);
      part.style.width = width;
    },
  };
}

function waiting(lane) {
  if (!lane) return "unknown";
  if (!lane.batches) return "none waiting";
  return `${count(lane.batches)} waiting, oldest ${duration(lane.oldest_seconds)}`;
}

function crew(workers) {
  if (!workers) return "unknown";
  const { busy, idle } = workers;
  return [busy && `${busy} busy`, idle && `${idle} idle`].filter(Boolean).join(", ") || "none running";
}

function roomText(used, recycleAt, limit) {
  if (!used) return "Not measured yet";
  if (used >= recycleAt) return "Over the mark: the largest worker is being recycled";
  const room = `${megabytes(recycleAt - used)} MB until a worker is recycled`;
  return limit === null ? `${room}; no container limit is set` : room;
}

const percent = (part, whole) => `${((100 * part) / whole).toFixed(3)}%`;
