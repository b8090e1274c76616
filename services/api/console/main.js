// Decides which view is shown, and keeps the header up to date.

import { connection, getJson, session } from "/console/api.js";
import { replace, setText } from "/console/elements.js";
import { Gauge } from "/console/gauge.js";
import { Home } from "/console/home.js";
import { JobView } from "/console/job.js";
import { Poll } from "/console/poll.js";
import { SignIn } from "/console/sign_in.js";

// Seconds between two readings of the appliance's state.
const INTERVAL = 1;
const THEMES = { Auto: "light dark", Light: "light", Dark: "dark" };

const byId = (id) => document.getElementById(id);
const content = byId("content");
const state = byId("state");
let view = null;
let home = null;
let gauge = null;
let theme = 0;

const watch = new Poll(async () => {
  const appliance = await getJson("/v1/appliance");
  if (!session.open) return;
  const [text, tone] = stateOf(appliance);
  state.hidden = false;
  setText(state, text);
  state.dataset.tone = tone;
  gauge?.show(appliance);
  home?.show(appliance);
}, INTERVAL);

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

function show(next) {
  view?.stop();
  view = next;
  replace(content, view.element);
  // Keyboard users continue at the new content.
  content.focus({ preventScroll: true });
  view.start();
  scrollTo(0, 0);
}

function route() {
  if (!session.open) return;
  const job = /^#\/jobs\/([0-9a-f]{32})$/.exec(location.hash);
  // The home view is kept, so that chosen rows are still there after a look at a job.
  gauge ??= new Gauge();
  home ??= new Home(gauge);
  show(job ? new JobView(job[1], gauge) : home);
}

function showTheme() {
  const [label, scheme] = Object.entries(THEMES)[theme];
  document.documentElement.style.colorScheme = scheme;
  byId("theme").textContent = label;
  byId("theme").setAttribute("aria-label", `Colour theme: ${label}. Change`);
}

async function showBuild() {
  const { version, commit, xgboost, shap } = await getJson("/version", { as: null });
  const build = commit === "unknown" ? "" : ` (${commit.slice(0, 7)})`;
  byId("build").textContent = `Shapbox ${version}${build} · XGBoost ${xgboost} · shap ${shap}`;
}

session.onChange((reason) => {
  byId("sign-out").hidden = !session.open;
  if (session.open) {
    route();
    watch.start();
    return;
  }
  watch.stop();
  home = gauge = null;
  state.hidden = true;
  show(new SignIn(reason));
});
connection.addEventListener("change", () => {
  byId("connection").hidden = !connection.lost;
});
addEventListener("hashchange", route);
// By script, since the address says which view is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
// A file dropped outside of the form must not replace the console.
for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());
byId("sign-out").addEventListener("click", () =>
  session.end("You have signed out. This page has forgotten the key."),
);
byId("theme").addEventListener("click", () => {
  theme = (theme + 1) % Object.keys(THEMES).length;
  showTheme();
});
showTheme();
showBuild().catch(() => {});
show(new SignIn(""));
