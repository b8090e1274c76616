// A picture of what Shapbox does, for the first page: a beeswarm of made-up rows, the same each time.

import { svg } from "/console/elements.js";

const LINES = 8;
const DOTS = 84;
const WIDTH = 560;
const STEP = 52;
const BLUE = [0, 139, 251];
const RED = [255, 0, 81];

export function swarm() {
  const chance = generator(5);
  const height = LINES * STEP + 24;
  const axis = svg("line", { class: "axis", x1: WIDTH / 2, x2: WIDTH / 2, y1: 4, y2: height - 4 });
  return svg(
    "svg",
    { class: "swarm", viewBox: `0 0 ${WIDTH} ${height}`, "aria-hidden": "true" },
    axis,
    Array.from({ length: LINES }, (_, line) => dots(line, chance)),
  );
}

function dots(line, chance) {
  const spread = 0.9 * (WIDTH / 2) * 0.74 ** line;
  const middle = 12 + STEP * (line + 0.5);
  const taken = new Map();
  return Array.from({ length: DOTS }, () => {
    const value = chance();
    const slope = line % 3 === 1 ? 1 - value : value;
    const place = (slope - 0.42 + 0.34 * (chance() - 0.5)) * spread * 1.35;
    const slot = Math.round(place / 5);
    const height = taken.get(slot) ?? 0;
    taken.set(slot, height + 1);
    const aside = Math.ceil(height / 2) * (height % 2 ? 1 : -1) * 4.4;
    return svg("circle", {
      cx: (WIDTH / 2 + place).toFixed(1),
      cy: (middle + Math.max(-22, Math.min(22, aside))).toFixed(1),
      r: 3.4,
      fill: blend(value),
      "fill-opacity": 0.88,
    });
  });
}

function blend(share) {
  const part = BLUE.map((blue, place) => Math.round(blue + (RED[place] - blue) * share));
  return `rgb(${part.join(" ")})`;
}

function generator(seed) {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}
