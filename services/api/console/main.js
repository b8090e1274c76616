// Decides which view is shown, polls the appliance for it, and keeps the header up to date.

import { getJson, isSignedIn, useKey } from "./api.js";
import { memory, queue } from "./appliance.js";
import { el, replace, setBadge } from "./elements.js";
import { explain } from "./explain.js";
import { jobView } from "./job.js";
import { jobList } from "./jobs.js";
import { signIn } from "./sign_in.js";

// Seconds between two readings of the appliance's state, and at most while it fails to answer.
const INTERVAL = 1;
const SLOWEST = 15;
const THEMES = { Auto: "light dark", Light: "light", Dark: "dark" };

const byId = (id) => document.getElementById(id);
const content = byId("content");
const state = byId("state");
let view = null;
let home = null;
let timer = null;
let delay = INTERVAL;
let polls = 0;
let theme = 0;

// Reads the state, shows it, and does so again later, but not in a hidden tab.
// `view.show` may return the seconds until then.
async function poll() {
  clearTimeout(timer);
  if (!isSignedIn() || document.hidden) return;
  polls += 1;
  const mine = polls;
  const lost = byId("connection");
  let responded = false;
  try {
    const appliance = await getJson("v1/appliance");
    responded = true;
    lost.hidden = true;
    if (!isSignedIn()) return;
    state.hidden = false;
    setBadge(state, ...stateOf(appliance));
    delay = (await view.show(appliance)) ?? INTERVAL;
  } catch (error) {
    if (error.status === undefined) console.error(error);
    lost.hidden = responded || (error.status > 0 && error.status < 500);
    delay = Math.min(SLOWEST, Math.max(INTERVAL, 2 * delay, error.retryAfter ?? 0));
  }
  // Another one has begun meanwhile, by a change of the view, and goes on.
  if (mine !== polls) return;
  clearTimeout(timer);
  timer = setTimeout(poll, 1000 * delay);
}

function stateOf({ draining, redis, monitor, workers, memory, programs }) {
  const failed = programs.filter((program) => program.state === "FATAL").map((program) => program.name);
  if (draining) return ["Stopping, accepts no new work", "warn"];
  if (!redis.up) return ["Redis is not responding", "bad"];
  if (failed.length) return [`Failed: ${failed.join(", ")}`, "bad"];
  if (workers.idle + workers.busy === 0) return ["No worker is running", "bad"];
  if (!monitor.fresh) return ["The monitor is not reporting", "warn"];
  if (memory.working_set_bytes >= memory.recycle_at_bytes) return ["Recycling a worker", "warn"];
  return workers.busy ? ["Working", "busy"] : ["Ready", "good"];
}

function homeView() {
  const parts = [queue(), memory(), jobList()];
  const [queueCard, memoryCard, jobsCard] = parts.map((part) => part.element);
  const aside = el("aside.sections", { "aria-label": "Appliance" }, queueCard, memoryCard);
  const columns = el("div.columns.sections", el("div.sections", explain(), jobsCard), aside);
  return {
    element: el("div", el("h1.unseen", "Console"), columns),
    async show(appliance) {
      for (const part of parts) await part.show(appliance);
    },
  };
}

function show(next) {
  view = next;
  replace(content, view.element);
  // Keyboard users continue at the new content.
  (content.querySelector("[autofocus]") ?? content).focus({ preventScroll: true });
  scrollTo(0, 0);
  poll();
}

function route() {
  if (!isSignedIn()) return;
  const job = /^#\/jobs\/([0-9a-f]{32})$/.exec(location.hash);
  // The home view is kept, so that chosen rows are still there after a look at a job.
  home ??= homeView();
  show(job ? jobView(job[1]) : home);
}

function onSession({ detail: reason }) {
  byId("sign-out").hidden = !isSignedIn();
  if (isSignedIn()) {
    route();
    return;
  }
  home = null;
  state.hidden = true;
  byId("connection").hidden = true;
  show({ element: signIn(reason) });
}

function showTheme() {
  const [label, scheme] = Object.entries(THEMES)[theme];
  document.documentElement.style.colorScheme = scheme;
  byId("theme").textContent = label;
  byId("theme").setAttribute("aria-label", `Colour theme: ${label}. Change`);
}

async function showBuild() {
  const { version, commit, xgboost, shap } = await getJson("version", { as: null });
  const build = commit === "unknown" ? "" : ` (${commit.slice(0, 7)})`;
  byId("build").textContent = `Shapbox ${version}${build} · XGBoost ${xgboost} · shap ${shap}`;
}

addEventListener("session", onSession);
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", poll);
// By script, since the address says which view is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
// A file dropped outside of the form must not replace the console.
for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());
byId("sign-out").addEventListener("click", () =>
  useKey(null, "You have signed out. This page has forgotten the key."),
);
byId("theme").addEventListener("click", () => {
  theme = (theme + 1) % Object.keys(THEMES).length;
  showTheme();
});
showTheme();
showBuild().catch(() => {});
show({ element: signIn() });
