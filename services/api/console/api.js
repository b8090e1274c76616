// Calls of the REST api. Errors are problems, which say what is wrong and what to do, or silence.

import { session } from "/console/session.js";

// Seconds after which a call is given up.
const PATIENCE = 15;

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `The appliance answers ${status}.`);
    this.status = status;
    this.title = document.title || "The request failed";
    this.errors = document.errors || [];
    this.requestId = document.request_id;
  }
}

export class SilenceError extends Error {
  constructor() {
    super("The appliance does not answer.");
    this.status = 0;
    this.title = "No answer";
    this.errors = [];
  }
}

export const connection = new (class extends EventTarget {
  // Since when there is no answer, in milliseconds since the epoch; null while there is.
  lostAt = null;
  heard() {
    this.#become(null);
  }
  missed() {
    this.#become(this.lostAt ?? Date.now());
  }
  #become(lostAt) {
    if (lostAt === this.lostAt) return;
    this.lostAt = lostAt;
    this.dispatchEvent(new Event("change"));
  }
})();

export async function call(path, { method = "GET", accept, key = session.key, seconds = PATIENCE } = {}) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  if (accept) headers.Accept = accept;
  const options = {
    method,
    headers,
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(seconds * 1000),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    connection.missed();
    throw new SilenceError();
  }
  connection.heard();
  if (!answer.ok) throw refuse(answer.status, await readProblem(answer), key);
  return answer;
}

export async function getJson(path, options) {
  return (await call(path, { accept: "application/json", ...options })).json();
}

export async function getBlob(path, accept) {
  return (await call(path, { accept, seconds: 600 })).blob();
}

// Sends rows, and tells `onProgress` the share that is sent: fetch cannot tell that.
export function send(path, body, contentType, onProgress) {
  const key = session.key;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.setRequestHeader("Content-Type", contentType);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onerror = () => {
      connection.missed();
      reject(new SilenceError());
    };
    request.onload = () => {
      connection.heard();
      const document = parse(request.responseText);
      if (request.status >= 400) reject(refuse(request.status, document, key));
      else resolve(document);
    };
    request.send(body);
  });
}

function refuse(status, document, key) {
  const problem = new Problem(document, status);
  // A key that opened the console and is not known any more: the appliance was given another one.
  if (status === 401 && key !== null && key === session.key) {
    session.end("The appliance does not know this key any more. Sign in with the one it has now.");
  }
  return problem;
}

async function readProblem(answer) {
  return parse(await answer.text().catch(() => ""));
}

function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
