// Where rows come from: the model's examples, a file, or pasted text. Each has a body, a media type and a preview.

import { call } from "./api.js";
import { counted, size } from "./figures.js";

const MEDIA_TYPES = {
  ".csv": "text/csv",
  ".txt": "text/csv",
  ".ndjson": "application/x-ndjson",
  ".jsonl": "application/x-ndjson",
  ".npy": "application/x-npy",
};
export const EXTENSIONS = Object.keys(MEDIA_TYPES);
// Lines in the preview, including the header, and the bytes of a file that are read for them.
const LINES = 5;
const BYTES = 64 * 1024;
// The most example rows to ask for.
const EXAMPLES = 1000;

export async function fromExamples(model) {
  const path = `v1/models/${encodeURIComponent(model)}/examples?limit=${EXAMPLES}`;
  const body = await (await call(path, { accept: "text/csv" })).text();
  return { ...fromCsv("Example rows", body), examples: true };
}

export async function fromFile(file) {
  const mediaType = MEDIA_TYPES[/\.[^.]*$/.exec(file.name.toLowerCase())?.[0]];
  if (!mediaType) {
    const kinds = EXTENSIONS.join(", ");
    throw fault(
      "Unsupported kind of file",
      `${file.name} is not one of ${kinds}. Save the rows as CSV, with the feature names in the first line.`,
    );
  }
  const isCsv = mediaType === "text/csv";
  const lines = isCsv ? firstLines(await file.slice(0, BYTES).text(), file.size <= BYTES) : [];
  return { body: file, mediaType, title: file.name, about: size(file.size), lines };
}

export function fromText(text) {
  if (!text.trim())
    throw fault("No rows", "Paste a line with the feature names, then one line for each row.");
  // Only empty lines are dropped: spaces at either end may belong to a name or a label.
  return fromCsv("Pasted rows", `${text.replace(/^[\r\n]+|[\r\n]+$/g, "")}\n`);
}

// One line of CSV, with quotes where a cell needs them.
export const csvLine = (cells) =>
  cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");

function fromCsv(title, body) {
  const rows = Math.max(0, body.split("\n").length - 2);
  return { body, mediaType: "text/csv", title, about: counted(rows, "row"), lines: firstLines(body, true) };
}

const fault = (title, message) => Object.assign(new Error(message), { title });

// Reads just enough CSV for a preview: the appliance reads the rows themselves.
function firstLines(text, whole) {
  const rows = [[]];
  const cells = /(?:"((?:[^"]|"")*)"|((?!")[^,\n]*?))(,|\r?\n|$)/gy;
  for (const [, quoted, plain, end] of text.matchAll(cells)) {
    rows.at(-1).push(quoted?.replaceAll('""', '"') ?? plain);
    if (!end.endsWith("\n")) continue;
    if (rows.length === LINES) return rows;
    rows.push([]);
  }
  // The last line has no end: it is empty, or may be cut where only a part of the file was read.
  const last = rows.pop();
  return whole && last.join("") ? [...rows, last] : rows;
}
