// The console: who is signed in, and which view is shown.

import { getJson } from "/console/api.js";
import { replace } from "/console/elements.js";
import { Gauge } from "/console/gauge.js";
import { Home } from "/console/home.js";
import { JobView } from "/console/job.js";
import { Poll } from "/console/poll.js";
import { session } from "/console/session.js";
import { SignIn, showBuild } from "/console/sign_in.js";
import { installBanner, showState } from "/console/state.js";
import { installTheme } from "/console/theme.js";

// Seconds between two looks at the appliance.
const WATCH = 1;

const content = document.getElementById("content");
const state = document.getElementById("state");
const signOut = document.getElementById("sign-out");
let view = null;
let home = null;
let gauge = null;

const watch = new Poll(async () => {
  const appliance = await getJson("/v1/appliance");
  if (!session.open) return;
  showState(state, appliance);
  gauge?.show(appliance);
  home?.watch(appliance);
}, WATCH);

function show(next) {
  view?.stop();
  view = next;
  replace(content, view.element);
  // Whoever reads with the keyboard goes on at the new content.
  content.focus({ preventScroll: true });
  view.start();
  scrollTo(0, 0);
}

function route() {
  if (!session.open) return;
  const job = /^#\/jobs\/([0-9a-f]{32})$/.exec(location.hash);
  // The home view is kept: rows that were chosen are still there after a look at a job.
  gauge ??= new Gauge();
  home ??= new Home(gauge);
  show(job ? new JobView(job[1], gauge) : home);
}

session.onChange((reason) => {
  signOut.hidden = !session.open;
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

addEventListener("hashchange", route);
// By hand: the address says which view is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
// A file that misses its place must not replace the console.
for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());
signOut.addEventListener("click", () => session.end("You are signed out, and the key is forgotten."));
installTheme(document.getElementById("theme"));
installBanner(document.getElementById("connection"));
showBuild(document.getElementById("build")).catch(() => {});
show(new SignIn(""));
