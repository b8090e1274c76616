// The picture on the first page: a beeswarm of made-up rows, the same each time.

import { svg } from "/console/elements.js";

const LINES = 8;
const DOTS = 84;
const WIDTH = 560;
const STEP = 52;
const BLUE = [0, 139, 251];
const RED = [255, 0, 81];

export function swarm() {
  const random = generator(5);
  const height = LINES * STEP + 24;
  return svg(
    "svg.swarm",
    { viewBox: `0 0 ${WIDTH} ${height}`, "aria-hidden": "true" },
    svg("path", { d: `M${WIDTH / 2} 4V${height - 4}`, stroke: "currentColor", "stroke-opacity": 0.5 }),
    Array.from({ length: LINES }, (_, line) => dots(line, random)),
  );
}

function dots(line, random) {
  const spread = 0.9 * (WIDTH / 2) * 0.74 ** line;
  const middle = 12 + STEP * (line + 0.5);
  const taken = new Map();
  return Array.from({ length: DOTS }, () => {
    const value = random();
    const slope = line % 3 === 1 ? 1 - value : value;
    const place = (slope - 0.42 + 0.34 * (random() - 0.5)) * spread * 1.35;
    const slot = Math.round(place / 5);
    const height = taken.get(slot) ?? 0;
    taken.set(slot, height + 1);
    const aside = Math.ceil(height / 2) * (height % 2 ? 1 : -1) * 4.4;
    return svg("circle", {
      cx: (WIDTH / 2 + place).toFixed(1),
      cy: (middle + Math.max(-22, Math.min(22, aside))).toFixed(1),
      r: 3.4,
      fill: `rgb(${BLUE.map((blue, channel) => Math.round(blue + (RED[channel] - blue) * value)).join(" ")})`,
      "fill-opacity": 0.88,
    });
  });
}

function generator(seed) {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}
