// The page: panels, theme, keys, and what is told about the run.
import { Curves } from "./curves.js";
import { Explore } from "./explore.js";
import { Gallery } from "./gallery.js";
import { Maps } from "./maps.js";
import { getJson, setKey } from "./message.js";
import { NodeBar } from "./node_bar.js";
import { Particles } from "./particles.js";

const $ = (id) => document.getElementById(id);
const OFTEN = 3000;
const PANELS = ["explore", "particles", "maps", "curves"];
const app = {};
// For tests, and for whoever is curious: what is on the screen, in numbers.
window.dynaflex = app;

function fail(error) {
  console.warn(error);
  tell(error.message);
}

/** Say what went wrong or is new; that a run stopped is said beside that, for as long as it is so. */
function tell(news = app.news, stopped = app.stopped) {
  Object.assign(app, { news, stopped });
  $("message").textContent = [stopped, news].filter(Boolean).join(" ");
  $("message").hidden = !(stopped || news);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch { /* not remembered, then */ }
  app.explore?.view.paint();
  app.explore?.surfaceBar.slices.draw();
  app.explore?.plot.draw();
  app.maps?.paint();
  app.curves?.paint();
}

function otherTheme() {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

async function openPanel(name) {
  for (const panel of PANELS) {
    $(panel).hidden = panel !== name;
    document.querySelector(`[data-panel="${panel}"]`).setAttribute("aria-selected", String(panel === name));
  }
  if (name !== "explore") app.explore?.path.movie.stop();
  if (name === "particles") await app.gallery.open();
  if (name === "maps") await app.maps.open();
  if (name === "curves") await app.curves.open();
}

/** Ask how the run goes on, and show what is new of it. */
async function follow() {
  try {
    await app.curves.poll();
    const { version, working } = app.curves.state;
    $("state").textContent = app.curves.words();
    const stopped = app.curves.stopped();
    if (stopped !== (app.stopped ?? "")) tell(app.news, stopped);
    if (String(version) !== String(app.run.version)) await renew();
    if (app.wasWorking && !working) await app.curves.open();
    app.wasWorking = working;
  } catch (error) {
    fail(error);
  }
  setTimeout(follow, OFTEN);
}

/** A training that has gone on is shown as it is now; with other particles, or other results, the page begins again. */
async function renew() {
  const run = await getJson("api/run");
  const known = app.run;
  app.run = run;
  if (!run.particles) return;
  const same = known.particles?.count === run.particles.count && run.training;
  if (same && known.training) await app.explore.renew(run.particles);
  else if (known.training && !app.explore?.selection.mask) location.reload();
  else tell("The run has new results: load the page again to see them.");
}

const KEYS = {
  1: () => openPanel("explore"), 2: () => openPanel("particles"), 3: () => openPanel("maps"), 4: () => openPanel("curves"),
  s: () => app.explore?.bar.setTool("show"), l: () => app.explore?.bar.setTool("lasso"),
  p: () => app.explore?.bar.setTool("path"), m: () => app.explore?.bar.setTool("pan"),
  "[": () => app.explore?.nudge(-1), "]": () => app.explore?.nudge(1),
  " ": () => app.explore?.path.toggle(), Escape: () => app.explore?.selection.clear(),
  k: () => app.explore?.keep(), x: () => app.maps?.swap(),
  t: otherTheme, "?": () => $("keys").showModal(),
};

function listen() {
  for (const button of document.querySelectorAll("[data-panel]")) {
    button.addEventListener("click", () => openPanel(button.dataset.panel).catch(fail));
  }
  $("theme").addEventListener("click", otherTheme);
  $("help").addEventListener("click", () => $("keys").showModal());
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName) && event.target.type !== "range";
    if (typing || event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    Promise.resolve(act()).catch(fail);
  });
}

async function start() {
  let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  try {
    theme = localStorage.getItem("theme") ?? theme;
  } catch { /* no memory, then */ }
  setTheme(theme);
  listen();
  const run = await getJson("api/run");
  setKey(run.key);
  app.run = run;
  $("run-name").textContent = `${run.name} · ${run.method}`;
  document.title = `${run.name} · dynaflex`;
  [app.maps, app.curves] = [new Maps(run, fail), new Curves(run)];
  if (run.notices.length) tell(run.notices.join(" "));
  if (run.particles) {
    await openPanel("explore");
    app.explore = new Explore(new Particles(run.particles, run.shared), run, app.maps, fail);
    app.gallery = new Gallery(app.explore, () => openPanel("explore"), fail);
    app.nodes = new NodeBar(app.explore.path, app.maps, () => openPanel("maps"), fail);
    await app.explore.start();
  } else {
    for (const panel of ["explore", "particles"]) document.querySelector(`[data-panel="${panel}"]`).disabled = true;
    await openPanel("curves");
  }
  app.ready = true;
  document.body.dataset.ready = "yes";
  await follow();
}

start().catch(fail);
