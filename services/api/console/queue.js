// What waits, who works, and how Redis and the disk are.

import { el, replace, say } from "/console/elements.js";
import { count, duration, size } from "/console/figures.js";

const LANES = { interactive: "Interactive", bulk: "Bulk" };

export class Queue {
  #lanes = Object.keys(LANES).map((name) => ({ name, number: el("b", {}, "–"), age: el("small") }));
  #crew = el("p", { class: "crew" });
  #redis = el("dd");
  #redisMemory = el("dd");
  #disk = el("dd");
  #shown = "";

  constructor() {
    const lanes = this.#lanes.map(({ name, number, age }) =>
      el("div", { class: "lane" }, el("small", { class: "soft" }, LANES[name]), number, age),
    );
    const facts = el(
      "dl",
      { class: "facts" },
      el("dt", {}, "Redis answers in"),
      this.#redis,
      el("dt", {}, "Redis holds"),
      this.#redisMemory,
      el("dt", {}, "Disk"),
      this.#disk,
    );
    this.element = el(
      "section",
      { class: "card", "aria-labelledby": "queue" },
      el(
        "div",
        { class: "card-head" },
        el("h2", { id: "queue" }, "Queue"),
        el("small", {}, "batches waiting"),
      ),
      el("div", { class: "lanes" }, lanes),
      this.#crew,
      facts,
    );
  }

  show({ queues, workers, redis, storage }) {
    for (const { name, number, age } of this.#lanes) {
      const lane = queues?.[name];
      say(number, lane ? count(lane.batches) : "–");
      say(age, lane?.batches ? `oldest ${duration(lane.oldest_seconds)}` : lane ? "none waits" : "not known");
    }
    this.#showCrew(workers);
    say(this.#redis, redis.up ? duration(redis.ping_seconds) : "it is away");
    say(
      this.#redisMemory,
      redis.up
        ? size(redis.memory_bytes) + (redis.memory_limit_bytes ? ` of ${size(redis.memory_limit_bytes)}` : "")
        : "–",
    );
    const parts = [
      storage.used_bytes === null ? "" : `${size(storage.used_bytes)} used`,
      storage.free_bytes === null ? "" : `${size(storage.free_bytes)} free`,
    ];
    say(this.#disk, parts.filter(Boolean).join(", ") || "elsewhere");
  }

  #showCrew(workers) {
    const shown = JSON.stringify(workers);
    if (shown === this.#shown) return;
    this.#shown = shown;
    if (!workers) {
      replace(this.#crew, "Workers: not known while Redis is away");
      return;
    }
    const cells = [...Array(workers.busy).fill("busy"), ...Array(workers.idle).fill("")].map((state) =>
      el("i", { class: state }),
    );
    const words = [workers.busy && `${workers.busy} at work`, workers.idle && `${workers.idle} idle`]
      .filter(Boolean)
      .join(", ");
    replace(
      this.#crew,
      el("span", {}, "Workers"),
      el("span", { class: "cells", "aria-hidden": "true" }, cells),
      el("span", { class: "soft" }, words || "none lives"),
    );
  }
}
