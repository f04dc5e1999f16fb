// The top of the page: what share is in force, who is in it, what needs attention.

import { Chart } from "./charts.js";
import { byId, el, renderWhenChanged, setText, sourceName, updateFacts } from "./dom.js";
import { asBuckets, asCount, asRate, asRatio } from "./format.js";
import { attentionOf, FALLBACK_GOAL, ROLES, totals } from "./model.js";

let chart = null;

export function showOverview(status, config) {
  const share = Number.isInteger(status.percentage) ? `${status.percentage} %` : "?";
  setText(byId("percentage"), share);
  renderWhenChanged(byId("percentage-of"), [status.names.target, status.share, status.percentage], ([name, inForce, written]) => [
    " of users on ",
    sourceName("target", name),
    inForce === written ? null : el("strong", { class: "bad" }, ` – ${inForce} % in force`),
  ]);
  document.title = `${attentionOf(status).some(({ tone }) => tone === "bad") ? "⚠ " : ""}${share} · cutover`;
  showBuckets(status, config);
  showAttention(status);
  showFacts(status);
}

function showBuckets(status, config) {
  const { names, share } = status;
  const [inside, outside] = byId("buckets").children;
  inside.style.width = `${share}%`;
  outside.style.width = `${100 - share}%`;
  renderWhenChanged(byId("who"), [names, share, config, status.kill_switch], () => {
    const to = (role) => ["→ ", sourceName(role, names[role])];
    const lines = [
      ["In: users in ", asBuckets(0, share), " ", ...to("target")],
      ["Out: users in ", asBuckets(share, 100), " ", ...to("legacy")],
    ];
    if (config) {
      const { listed, anonymous, operations } = config;
      for (const role of ROLES) {
        if (listed[role]) lines.push([`Always: ${asCount(listed[role])} listed user${listed[role] === 1 ? "" : "s"} `, ...to(role)]);
      }
      if (share > 0 && share < 100) {
        lines.push(anonymous === "client_ip" ? ["No user id: the client's address decides"] : ["No user id ", ...to("legacy")]);
      }
      for (const [name, operation] of operations) {
        if (Number.isInteger(operation.percentage)) lines.push([`${name}: a percentage of its own, ${operation.percentage} %`]);
      }
    }
    return lines.map((line) => el("li", {}, ...line));
  });
}

function showAttention(status) {
  renderWhenChanged(byId("attention"), attentionOf(status), (list) =>
    list.length
      ? list.map(({ tone, text }) => el("li", { class: tone }, el("span", { class: "tone" }, tone === "bad" ? "✕" : "!"), text))
      : [el("li", { class: "good" }, el("span", { class: "tone" }, "✓"), "Nothing")],
  );
}

function showFacts(status) {
  const { names, override, rollout } = status;
  const { rates, fallbacks, fallbackRatio } = totals(status, "1m");
  renderWhenChanged(byId("rates"), names, () => ROLES.map((role) => el("span", {}, sourceName(role, names[role]), " ", el("span"))));
  ROLES.forEach((role, index) => setText(byId("rates").children[index].lastChild, `${asRate(rates[role])}/s`));
  const breakerTone = { admitting: "good", probing: "warn", rejecting: "bad" }[status.breaker];
  const shown = [
    ["Enabled", status.enabled === true ? "yes" : status.enabled === false ? "no" : "?", status.enabled ? "" : "warn"],
    ["Kill switch", status.kill_switch ? "ON" : "off", status.kill_switch ? "bad" : ""],
    ["Circuit breaker", status.breaker, breakerTone],
    ["Override", override ? overrideText(override) : "none", override ? "warn" : ""],
    ["Fallbacks, last minute", `${asCount(fallbacks)} (${asRatio(fallbackRatio)})`, fallbackRatio >= FALLBACK_GOAL ? "warn" : ""],
    ["Revision", String(status.revision ?? "?"), ""],
  ];
  if (rollout) shown.push(["Rollout plan", rolloutText(rollout), ""]);
  updateFacts(byId("facts"), shown);
}

function overrideText({ percentage, enabled, origin, at }) {
  const since = typeof at === "number" ? `, ${new Date(at * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "medium" })}` : "";
  return `${percentage} %, ${enabled ? "enabled" : "not enabled"}, by ${origin ?? "?"}${since}`;
}

function rolloutText({ phase, stage, verdict }) {
  return [`stage ${stage ?? "?"}`, phase, verdict].filter((part) => part !== undefined && part !== null).join(", ");
}

export function drawShare(points, now, marks) {
  chart ??= new Chart(byId("share-chart"), {
    title: "Share, last 15 minutes",
    roles: ["target"],
    names: { target: "share" },
    format: (value) => `${Math.round(value)} %`,
    least: 100,
    step: true,
  });
  chart.draw({ target: points.map((point) => [point.at, point.share]) }, now, marks);
}
