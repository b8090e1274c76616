// Where rows come from: examples, a file, or what was pasted. Each has a body, a media type and some words.

import { call } from "/console/api.js";
import { firstLines } from "/console/csv.js";
import { counted, size } from "/console/figures.js";

const MEDIA_TYPES = {
  csv: "text/csv",
  txt: "text/csv",
  ndjson: "application/x-ndjson",
  jsonl: "application/x-ndjson",
  npy: "application/x-npy",
};
export const ENDINGS = Object.keys(MEDIA_TYPES)
  .map((ending) => `.${ending}`)
  .join(",");
// Lines that the preview shows, the header among them; and bytes that are read for them.
const LINES = 5;
const BYTES = 64 * 1024;
// Rows of a model's examples that are asked for.
export const EXAMPLES = 1000;

export async function fromExamples(model) {
  const text = await (
    await call(`/v1/models/${encodeURIComponent(model)}/examples?limit=${EXAMPLES}`, { accept: "text/csv" })
  ).text();
  const rows = text.split("\r\n").length - 2;
  return {
    body: text,
    mediaType: "text/csv",
    title: "Example rows",
    examples: true,
    about: counted(rows, "row"),
    lines: firstLines(text, LINES, true),
  };
}

export async function fromFile(file) {
  const ending = file.name.toLowerCase().split(".").pop();
  const mediaType = MEDIA_TYPES[ending];
  if (!mediaType)
    throw Object.assign(
      new Error(
        `${file.name} is none of ${ENDINGS.replaceAll(",", ", ")}: save the rows as CSV, with the features' names in the first line.`,
      ),
      { title: "This kind of file is not read" },
    );
  const lines =
    mediaType === "text/csv" ? firstLines(await file.slice(0, BYTES).text(), LINES, file.size <= BYTES) : [];
  return { body: file, mediaType, title: file.name, about: size(file.size), lines };
}

export function fromText(text) {
  // Blanks at either end may belong to a name or a label: only empty lines are dropped.
  const body = text.trim() ? `${text.replace(/^[\r\n]+|[\r\n]+$/g, "")}\n` : "";
  if (!body)
    throw Object.assign(new Error("Paste a line with the features' names, and a line for each row."), {
      title: "There is nothing to explain",
    });
  const rows = Math.max(0, body.split("\n").length - 2);
  return {
    body,
    mediaType: "text/csv",
    title: "Pasted rows",
    about: counted(rows, "row"),
    lines: firstLines(body, LINES, true),
  };
}
