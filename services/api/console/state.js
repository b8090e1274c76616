// The appliance's state in a word, for the header; and the banner while it does not answer.

import { connection } from "/console/api.js";

export function stateOf(appliance) {
  const { draining, redis, monitor, workers, memory, programs } = appliance;
  const givenUp = programs.filter((program) => program.state === "FATAL").map((program) => program.name);
  if (draining) return ["Stopping, takes no new work", "warn"];
  if (!redis.up) return ["Redis is away", "bad"];
  if (givenUp.length) return [`Given up: ${givenUp.join(", ")}`, "bad"];
  if (workers.idle + workers.busy === 0) return ["No worker lives", "bad"];
  if (!monitor.fresh) return ["The monitor is silent", "warn"];
  if (memory.working_set_bytes >= memory.recycle_at_bytes) return ["Recycling a worker", "warn"];
  return workers.busy ? ["Working", "busy"] : ["Ready", "good"];
}

export function showState(element, appliance) {
  const [text, tone] = stateOf(appliance);
  element.hidden = false;
  element.className = "state badge";
  if (element.textContent !== text) element.textContent = text;
  element.dataset.tone = tone;
}

export function installBanner(banner) {
  connection.addEventListener("change", () => {
    banner.hidden = connection.lostAt === null;
    banner.textContent = banner.hidden
      ? ""
      : "The appliance does not answer. What you see is from before; it is asked again by itself.";
  });
}
