// Puts the page together: what comes by the stream is kept here, and shown by the modules of each part.

import { setUpChanges } from "./changes.js";
import { SPAN_S } from "./charts.js";
import { byId, setText } from "./dom.js";
import { setUpExplain } from "./explain.js";
import { asClock } from "./format.js";
import { showConfiguration, showEvents, showFallbacks } from "./lists.js";
import { readConfig, readStatus } from "./model.js";
import { drawShare, showOverview } from "./overview.js";
import { drawSources, showSources } from "./sources.js";
import { readRollout, showStaged } from "./staged.js";
import { follow } from "./stream.js";

const HIDDEN_FOR_MS = 30_000;
const KEPT_EVENTS = 50;
const OLD_S = 5; // figures older than this while connected: the status can't be had
const MARKED = new Set(["rollout_changed", "kill_switch"]);
const kept = { status: null, config: null, configOf: null, at: null, points: [], events: [], fresh: false, lostAt: null, lostWhy: "", heardAt: 0, assets: null, rollout: null, rolloutAt: 0 };

const noticeInDialogs = setUpChanges(
  () => kept,
  (text) => setText(byId("outcome"), text),
);
setUpExplain();
setText(byId("where"), location.host);
document.querySelectorAll('[name="window"]').forEach((choice) => choice.addEventListener("change", show));

const stream = follow({
  connected() {
    kept.lostAt = null;
    kept.fresh = true; // what comes now is all there is, not what is new
    showLink();
  },
  lost(why) {
    kept.lostAt ??= Date.now() / 1000;
    kept.lostWhy = why;
    showLink();
  },
  event(name, data) {
    if (name === "hello") kept.assets = data.assets;
    if (name === "points") onPoints(data);
    if (name === "notables") onNotables(data);
    if (name === "rollout") onRollout(data);
    if (name === "status") onStatus(data);
  },
});

function onRollout(data) {
  kept.rollout = readRollout(data);
  kept.rolloutAt = Date.now() / 1000 - kept.rollout.heard_s;
  showRollout();
}

// Also when nothing comes: a controller that is not heard any more is shown as such.
function showRollout() {
  if (kept.rollout) showStaged(kept.rollout, Date.now() / 1000 - kept.rolloutAt, kept.status?.names);
}

function onPoints(points) {
  kept.points = (kept.fresh ? points : [...kept.points, ...points]).filter((point) => point.at > points.at(-1).at - SPAN_S);
  if (kept.fresh) kept.events = [];
  kept.fresh = false;
  draw();
}

function onNotables(events) {
  kept.events = [...kept.events, ...events].slice(-KEPT_EVENTS);
  if (kept.status) show();
}

async function onStatus({ at, status }) {
  kept.status = readStatus(status);
  kept.at = at;
  kept.heardAt = Date.now() / 1000;
  byId("main").hidden = false;
  show();
  noticeInDialogs(kept.status);
  if (kept.configOf !== status.revision) await fetchConfig(status.revision);
}

// The configuration changes with its revision only.
async function fetchConfig(revision) {
  kept.configOf = revision;
  try {
    const response = await fetch("config", { cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    kept.config = readConfig(await response.json());
    show();
  } catch {
    kept.configOf = null; // asked for again with the next status
  }
}

function show() {
  const { status, config } = kept;
  if (!status) return;
  const window = document.querySelector('[name="window"]:checked').value;
  showOverview(status, config);
  if (showSources(status, config, window)) draw();
  showFallbacks(status);
  showEvents(kept.events, kept.points[0]?.at ?? kept.at);
  showConfiguration(status, kept.at);
  showRollout();
  showLink();
}

function draw() {
  if (!kept.status || !kept.points.length) return;
  const now = kept.points.at(-1).at;
  const marks = kept.events.filter(({ kind, at }) => MARKED.has(kind) && at > now - SPAN_S).map(({ at }) => at);
  drawShare(kept.points, now, marks);
  drawSources(kept.points, now, marks);
}

function showLink() {
  const old = kept.status !== null && Date.now() / 1000 - kept.heardAt > OLD_S;
  const lost = kept.lostAt !== null;
  const renewed = kept.assets !== null && kept.assets !== document.querySelector('meta[name="assets"]').content;
  document.documentElement.dataset.stale = String(lost || old);
  byId("link").dataset.state = lost || old ? "lost" : "live";
  setText(byId("link-text"), lost ? "Not connected" : old ? "No new figures" : kept.at ? `Live, ${asClock(kept.at)}` : "Connecting…");
  let text = "";
  if (lost) text = `Not connected since ${asClock(kept.lostAt)}: ${kept.lostWhy}.${kept.at ? ` The figures are of ${asClock(kept.at)}.` : ""} Trying again.`;
  else if (old) text = `Connected, but there are no figures since ${asClock(kept.at)}.`;
  else if (renewed) text = "cutover was updated: reload this page to have the page that belongs to it.";
  setText(byId("lost"), text);
}

setInterval(() => {
  showLink();
  showRollout();
}, 1000);

let hiding = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(stream.pause, HIDDEN_FOR_MS);
  else {
    kept.heardAt = Date.now() / 1000; // what is old is so because nobody asked
    stream.resume();
  }
});
