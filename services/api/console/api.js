// The key, and calls of the REST API.

// Seconds until a call without a response is aborted.
const TIMEOUT = 15;

// The key is kept in this variable only: no other script can read it, and a reload forgets it.
let key = null;
const listeners = [];

export const session = {
  get open() {
    return key !== null;
  },
  begin(given) {
    key = given;
    tell("");
  },
  // `reason` is shown on the sign-in page.
  end(reason) {
    if (key === null) return;
    key = null;
    tell(reason);
  },
  onChange(listener) {
    listeners.push(listener);
  },
};

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `The appliance responded with status ${status}.`);
    this.status = status;
    this.title = document.title || "The request failed";
    this.errors = document.errors || [];
    this.requestId = document.request_id;
  }
}

// Tells whether the appliance responds at all.
export const connection = new (class extends EventTarget {
  lost = false;
  become(lost) {
    if (lost === this.lost) return;
    this.lost = lost;
    this.dispatchEvent(new Event("change"));
  }
})();

export async function call(path, { method = "GET", accept, as = key, seconds = TIMEOUT } = {}) {
  const headers = as === null ? {} : { Authorization: `Bearer ${as}` };
  if (accept) headers.Accept = accept;
  const signal = AbortSignal.timeout(seconds * 1000);
  const options = { method, headers, cache: "no-store", credentials: "omit", signal };
  const response = await fetch(path, options).catch(() => Promise.reject(noResponse()));
  connection.become(false);
  if (!response.ok) throw refusal(response.status, parse(await response.text().catch(() => "")), as);
  return response;
}

export async function getJson(path, options) {
  return (await call(path, { accept: "application/json", ...options })).json();
}

// Sends rows. Uses XMLHttpRequest, since fetch does not report the progress of an upload.
export function send(path, body, contentType, onProgress) {
  const as = key;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Authorization", `Bearer ${as}`);
    request.setRequestHeader("Content-Type", contentType);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onerror = () => reject(noResponse());
    request.onload = () => {
      connection.become(false);
      const document = parse(request.responseText);
      if (request.status >= 400) reject(refusal(request.status, document, as));
      else resolve(document);
    };
    request.send(body);
  });
}

function tell(reason) {
  for (const listener of listeners) listener(reason);
}

function noResponse() {
  connection.become(true);
  const detail = "The appliance is not responding. Check that it is running, then try again.";
  return new Problem({ title: "No response", detail }, 0);
}

function refusal(status, document, as) {
  // A key that opened the console and is refused now was replaced in the meantime.
  if (status === 401 && as !== null && as === key) {
    session.end("This key is no longer valid. Sign in with the current key.");
  }
  return new Problem(document, status);
}

function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
