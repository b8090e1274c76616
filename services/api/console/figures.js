// Numbers and times as text.

const MB = 2 ** 20;
const whole = new Intl.NumberFormat("en");

export const megabytes = (bytes) => (bytes / MB).toFixed(0);

export const count = (number) => whole.format(number);

// "1 row", "2,000 rows"
export const counted = (number, thing, things = `${thing}s`) =>
  `${count(number)} ${number === 1 ? thing : things}`;

export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < MB) return `${Math.round(bytes / 1024)} KB`;
  if (bytes < 1024 * MB) return `${(bytes / MB).toFixed(bytes < 10 * MB ? 1 : 0)} MB`;
  return `${(bytes / MB / 1024).toFixed(1)} GB`;
}

export function duration(seconds) {
  if (seconds < 0.001) return seconds ? `${Math.round(seconds * 1e6)} µs` : "< 1 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${Number(seconds.toFixed(seconds < 10 ? 1 : 0))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 3600 * 24) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(time).toLocaleDateString("en", { day: "numeric", month: "short" });
}

// A value of a model, with enough digits to compare it with others.
export function value(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0) return "0";
  const size = Math.abs(number);
  const text =
    size >= 1e6 || size < 1e-4 ? number.toExponential(2) : Number(number.toPrecision(size >= 1000 ? 6 : 4));
  return String(text).replace("-", "−");
}
