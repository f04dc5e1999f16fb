// What `/status` and `/config` say, read with care: a field may be missing or new, names may be anything.
// Pure: no page, no clock. `rollout` is the plan that is being carried out, where the status tells of one.

import { asGoal } from "./format.js";

export const ROLES = ["legacy", "target"];
export const WINDOWS = ["1m", "5m"];
export const ERROR_GOAL = 0.001;
export const FALLBACK_GOAL = 0.01;
const P95_GOALS_MS = { get: 50, list: 100, upload: 1000, update: 80, delete: 100 };
const ENOUGH = 20; // requests in a window below which a share of them proves nothing

const mapping = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);

export function readStatus(raw) {
  const status = mapping(raw);
  const roles = mapping(status.roles);
  const sources = mapping(status.sources);
  return {
    ...status,
    names: { legacy: String(roles.legacy ?? "legacy"), target: String(roles.target ?? "target") },
    sources,
    share: shareInForce(status),
    breaker: String(status.breaker ?? "?"),
    reload: mapping(status.last_reload),
    workers: (Array.isArray(status.workers) ? status.workers : []).map(mapping),
    override: status.override ? mapping(status.override) : null,
    rollout: status.rollout ? mapping(status.rollout) : null,
  };
}

export function shareInForce(status) {
  return status.enabled === true && !status.kill_switch && Number.isInteger(status.percentage) ? status.percentage : 0;
}

export function readConfig(raw) {
  const config = mapping(raw);
  const rollout = mapping(config.rollout);
  const users = mapping(rollout.users);
  const operations = (Array.isArray(config.operations) ? config.operations : []).map(mapping);
  return {
    listed: { target: users.target ?? 0, legacy: users.legacy ?? 0 },
    anonymous: rollout.anonymous,
    operations: new Map(operations.map((operation) => [String(operation.name), operation])),
  };
}

export function figuresOf(status, role, operation, window) {
  const bySource = mapping(own(status.sources, status.names[role]));
  return mapping(own(mapping(own(bySource, operation)), window));
}

// All operations, those that were asked for first, in the order of the configuration.
export function operationsOf(status) {
  const named = new Set(ROLES.flatMap((role) => Object.keys(mapping(own(status.sources, status.names[role])))));
  const isBusy = (name) => ROLES.some((role) => figuresOf(status, role, name, "5m").requests);
  return { busy: [...named].filter(isBusy), idle: [...named].filter((name) => !isBusy(name)) };
}

export const p95Goal = (operation) => own(P95_GOALS_MS, operation) ?? null;

// How a figure stands to its goal: "met", "missed", or null where nothing can be said.
export function judge(figures, operation) {
  const enough = figures.requests >= ENOUGH;
  const goal = p95Goal(operation);
  const under = (value, bound) => (!enough || typeof value !== "number" ? null : value < bound ? "met" : "missed");
  return { p95: goal === null ? null : under(figures.p95_ms, goal), errors: under(figures.error_ratio, ERROR_GOAL) };
}

export function totals(status, window) {
  const sum = (role, key) =>
    Object.keys(mapping(own(status.sources, status.names[role])))
      .map((operation) => figuresOf(status, role, operation, window)[key] ?? 0)
      .reduce((total, value) => total + value, 0);
  const fallbacks = fallbacksOf(status).reduce((total, row) => total + row[window], 0);
  const asked = sum("target", "requests");
  return {
    rates: { legacy: sum("legacy", "rate"), target: sum("target", "rate") },
    fallbacks,
    asked,
    fallbackRatio: asked ? fallbacks / asked : null,
  };
}

export function fallbacksOf(status) {
  const rows = [];
  for (const operation of operationsOf(status).busy) {
    const recent = mapping(figuresOf(status, "target", operation, "1m").fallbacks);
    for (const [reason, count] of Object.entries(mapping(figuresOf(status, "target", operation, "5m").fallbacks))) {
      rows.push({ operation, reason, "1m": own(recent, reason) ?? 0, "5m": count });
    }
  }
  return rows.sort((a, b) => b["1m"] - a["1m"] || b["5m"] - a["5m"]);
}

// What an operator must know first, the worst first: [{ tone, text }].
export function attentionOf(status) {
  const list = [];
  const say = (tone, text) => list.push({ tone, text });
  const { legacy, target } = status.names;
  if (status.ready === false) say("bad", "Not serving: starting or draining");
  if (status.kill_switch) say("bad", `Kill switch is on: everything goes to ${legacy}`);
  if (status.breaker === "rejecting") say("bad", `Circuit breaker is rejecting: ${target} is not asked`);
  if (status.reload.result === "rejected") say("bad", "The configuration file was rejected; the last good one is in force");
  for (const operation of operationsOf(status).busy) {
    const verdict = judge(figuresOf(status, "target", operation, "1m"), operation);
    if (verdict.errors === "missed") say("bad", `${operation}: errors of ${target} above 0.1 %`);
    if (verdict.p95 === "missed") say("warn", `${operation}: p95 of ${target} not under ${asGoal(p95Goal(operation))}`);
    if (judge(figuresOf(status, "legacy", operation, "1m"), operation).errors === "missed") {
      say("bad", `${operation}: errors of ${legacy} above 0.1 %`);
    }
  }
  const { asked, fallbackRatio } = totals(status, "1m");
  if (asked >= ENOUGH && fallbackRatio >= FALLBACK_GOAL) say("warn", "More than 1 % of the last minute fell back");
  if (status.breaker === "probing") say("warn", `Circuit breaker is probing ${target} with copies`);
  if (new Set(status.workers.map((worker) => worker.revision)).size > 1) say("warn", "Workers are on different revisions");
  if (status.override) say("warn", "An override stands above the configuration file");
  if (status.enabled === false && status.percentage > 0) say("warn", "Enabled is no, so the percentage moves nobody");
  return list.sort((a, b) => (a.tone === b.tone ? 0 : a.tone === "bad" ? -1 : 1));
}
