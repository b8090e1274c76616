// Waiting batches, the workers, and how Redis and the disk are doing.

import { card, el, replace, setText } from "/console/elements.js";
import { count, duration, size } from "/console/figures.js";

const LANES = { interactive: "Interactive", bulk: "Bulk" };

export class Queue {
  #lanes = Object.keys(LANES).map((name) => ({ name, number: el("b", "–"), age: el("small") }));
  #workers = el("p.crew");
  #latency = el("dd");
  #memory = el("dd");
  #disk = el("dd");
  #shown = "";

  constructor() {
    const lanes = this.#lanes.map(({ name, number, age }) =>
      el("div.lane", el("small", LANES[name]), number, age),
    );
    const facts = [
      [el("dt", "Redis latency"), this.#latency],
      [el("dt", "Redis memory"), this.#memory],
      [el("dt", "Disk"), this.#disk],
    ];
    const waiting = el("small", "batches waiting");
    this.element = card(
      "queue",
      "Queue",
      waiting,
      el("div.lanes", lanes),
      this.#workers,
      el("dl.facts", facts),
    );
  }

  show({ queues, workers, redis, storage }) {
    for (const { name, number, age } of this.#lanes) {
      const lane = queues?.[name];
      setText(number, lane ? count(lane.batches) : "–");
      if (lane) setText(age, lane.batches ? `oldest ${duration(lane.oldest_seconds)}` : "none waiting");
      else setText(age, "unknown");
    }
    this.#showWorkers(workers);
    const limit = redis.memory_limit_bytes ? ` of ${size(redis.memory_limit_bytes)}` : "";
    setText(this.#latency, redis.up ? duration(redis.ping_seconds) : "no response");
    setText(this.#memory, redis.up ? size(redis.memory_bytes) + limit : "–");
    const { used_bytes: used, free_bytes: free } = storage;
    const disk = [used !== null && `${size(used)} used`, free !== null && `${size(free)} free`];
    setText(this.#disk, disk.filter(Boolean).join(", ") || "remote");
  }

  #showWorkers(workers) {
    const shown = JSON.stringify(workers);
    if (shown === this.#shown) return;
    this.#shown = shown;
    if (!workers) {
      replace(this.#workers, "Workers: unknown while Redis does not respond");
      return;
    }
    const { busy, idle } = workers;
    const cells = Array.from({ length: busy + idle }, (_, place) => el(place < busy ? "i.busy" : "i"));
    const words = [busy && `${busy} busy`, idle && `${idle} idle`].filter(Boolean).join(", ");
    replace(
      this.#workers,
      "Workers",
      el("span.cells", { "aria-hidden": "true" }, cells),
      el("span.soft", words || "none running"),
    );
  }
}
