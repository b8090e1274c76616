// The key, and calls of the REST API.

// Seconds until a call without a response is aborted.
const TIMEOUT = 15;
// The address of the appliance, which may have a path: paths without a slash in front begin there.
const BASE = new URL("..", import.meta.url);

// The key is kept in this variable only: no other script can read it, and a reload forgets it.
let key = null;

export const isSignedIn = () => key !== null;

// Signs in with a key, or out with null. The page is told, with the reason for the sign-in page.
export function useKey(given, reason) {
  key = given;
  dispatchEvent(new CustomEvent("session", { detail: reason }));
}

export class Problem extends Error {
  constructor(document, status, retryAfter = null) {
    super(document.detail || document.title || `The appliance responded with status ${status}.`);
    this.status = status;
    this.title = document.title || "The request failed";
    this.errors = document.errors || [];
    this.requestId = document.request_id;
    this.retryAfter = Number(retryAfter) || 0; // seconds
  }
}

export async function call(path, { method = "GET", accept = "*/*", as = key, seconds = TIMEOUT } = {}) {
  const headers = { Accept: accept, ...(as !== null && { Authorization: `Bearer ${as}` }) };
  const signal = AbortSignal.timeout(seconds * 1000);
  const options = { method, headers, cache: "no-store", credentials: "omit", signal };
  const response = await fetch(new URL(path, BASE), options).catch(() => Promise.reject(noResponse()));
  if (!response.ok) throw refusal(response, await response.text().catch(() => ""), as);
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
    request.open("POST", new URL(path, BASE));
    request.setRequestHeader("Authorization", `Bearer ${as}`);
    request.setRequestHeader("Content-Type", contentType);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onerror = () => reject(noResponse());
    request.onload = () => {
      if (request.status >= 400) reject(refusal(request, request.responseText, as));
      else resolve(new Response(request.responseText).json());
    };
    request.send(body);
  });
}

const noResponse = () =>
  new Problem(
    {
      title: "No response",
      detail: "The appliance is not responding. Check that it is running, then try again.",
    },
    0,
  );

function refusal({ status, headers }, text, as) {
  // A key that opened the console and is refused now was replaced in the meantime.
  if (status === 401 && as !== null && as === key)
    useKey(null, "This key is no longer valid. Sign in with the current key.");
  try {
    return new Problem(JSON.parse(text), status, headers?.get("Retry-After"));
  } catch {
    return new Problem({}, status);
  }
}
