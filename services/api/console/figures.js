// Numbers and times as text.

const MB = 2 ** 20;

export const megabytes = (bytes) => (bytes / MB).toFixed(0);

export const count = (number) => number.toLocaleString("en");

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
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function ago(time) {
  const seconds = Math.round((Date.now() - Date.parse(time)) / 1000);
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

// A value of a model, with enough digits to compare it with others.
export function value(number) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  const digits = size >= 1000 ? 6 : 4;
  const text =
    size && (size >= 1e6 || size < 1e-4) ? number.toExponential(2) : Number(number.toPrecision(digits));
  return String(text).replace("-", "−");
}
