// The key. It lives in this variable alone: a reload forgets it, and nothing else can read it.

let key = null;
const listeners = new Set();

export const session = {
  get key() {
    return key;
  },
  get open() {
    return key !== null;
  },
  begin(given) {
    key = given;
    tell("");
  },
  // `reason` is what the person is told on the sign-in page.
  end(reason = "") {
    if (key === null) return;
    key = null;
    tell(reason);
  },
  onChange(listener) {
    listeners.add(listener);
  },
};

function tell(reason) {
  for (const listener of listeners) listener(reason);
}
