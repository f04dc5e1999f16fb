// The staged rollout, as its controller tells it: stages, checks, and which orders make sense now.

import { byId, el, reachWhenScrolling, renderWhenChanged, setAttribute, setText } from "./dom.js";
import { asCount, asSpan } from "./format.js";

const LOST_S = 10; // as the desk has it
const FINAL = new Set(["rolled_back", "completed", "aborted"]);
const TONES = { GO: "good", HOLD: "warn", NO_GO: "bad" };
const PHASES = {
  waiting: "Waiting to begin",
  settling: "Settling",
  judging: "Judging",
  approval: "Waiting for approval",
  paused: "Paused",
  rolled_back: "Rolled back",
  completed: "Completed",
  aborted: "Aborted",
};
const PHASE_TONES = { rolled_back: "bad", aborted: "bad", completed: "good", paused: "warn", approval: "warn" };

const mapping = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
const list = (value) => (Array.isArray(value) ? value : []);
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

export function readRollout(raw) {
  const rollout = mapping(raw);
  const phase = String(rollout.phase ?? "?");
  return {
    phase,
    stage: number(rollout.stage) ?? 0,
    stages: list(rollout.stages).map(Number),
    percentage: number(rollout.percentage) ?? 0,
    verdict: String(rollout.verdict ?? "HOLD"),
    why: String(rollout.why ?? ""),
    held_s: number(rollout.held_s) ?? 0,
    hold_s: number(rollout.hold_s),
    overrides: mapping(rollout.overrides),
    step: rollout.unfinished_step ? mapping(rollout.unfinished_step) : null,
    plan: String(rollout.plan ?? ""),
    run: number(rollout.run) ?? 0,
    ended: rollout.ended === true,
    heard_s: number(rollout.heard_s) ?? 0,
    over: FINAL.has(phase),
    checks: list(rollout.checks).map(mapping).map((check) => ({
      name: String(check.name ?? "?"),
      verdict: String(check.verdict ?? "HOLD"),
      why: String(check.why ?? ""),
      samples: number(check.samples),
      needed: number(check.needed),
      eta_s: number(check.eta_s),
      required: check.required !== false,
    })),
  };
}

export function showStaged(rollout, heard_s) {
  byId("staged").hidden = false;
  const lost = !rollout.ended && heard_s > LOST_S;
  setText(byId("staged-phase"), PHASES[rollout.phase] ?? rollout.phase);
  setAttribute(byId("staged-phase"), "class", PHASE_TONES[rollout.phase] ?? "");
  const verdict = byId("staged-verdict");
  verdict.hidden = rollout.over && rollout.phase !== "rolled_back";
  setText(verdict, asWord(rollout.verdict));
  setAttribute(verdict, "class", `pill ${TONES[rollout.verdict] ?? ""}`);
  showStages(rollout);
  showHeld(rollout);
  setText(byId("staged-why"), rollout.why);
  showChecks(rollout);
  setText(byId("staged-note"), noteOf(rollout, lost, heard_s));
  setAttribute(byId("staged-note"), "class", lost ? "note bad" : "note");
  showButtons(rollout, lost || rollout.ended);
}

const asWord = (verdict) => verdict.replace("_", "-");

function showStages({ stages, stage, phase, percentage }) {
  renderWhenChanged(byId("stages"), [stages, stage, phase, percentage], () =>
    stages.map((share, index) => {
      const here = index + 1 === stage;
      const back = here && (phase === "rolled_back" || (phase === "aborted" && percentage !== share));
      const state = back ? "left" : index + 1 < stage || (here && phase === "completed") ? "done" : here ? "here" : "ahead";
      const words = { left: "taken back", done: "done", here: "now", ahead: "to come" }[state];
      return el("li", { class: state, "aria-current": here && !back ? "step" : null }, el("strong", {}, `${share} %`), ` ${words}`);
    }),
  );
}

function showHeld({ hold_s, held_s, over, percentage, step }) {
  const parts = [];
  if (over) parts.push(`${percentage} % is in force`);
  else if (hold_s !== null) parts.push(`Held for ${asSpan(held_s)} of ${asSpan(hold_s)}`);
  if (step) parts.push(`the step to ${step.percentage} % is under way`);
  const node = byId("staged-held");
  const share = over || hold_s === null ? 0 : Math.min(held_s / hold_s, 1);
  renderWhenChanged(node, [parts, Math.round(share * 200)], () => [
    over || hold_s === null ? null : el("progress", { max: 200, value: Math.round(share * 200), "aria-label": "Time held in this stage" }),
    el("span", {}, parts.join("; ")),
  ]);
}

function showChecks({ checks, overrides }) {
  renderWhenChanged(byId("checks"), [checks, overrides], () => {
    if (!checks.length) return [el("p", { class: "note" }, "Nothing was judged yet.")];
    const head = ["Verdict", "Check", "Why", "Requests", "Still needed"].map((title, index) => el("th", { scope: "col", class: index > 2 ? "number" : null }, title));
    const row = (check) =>
      el(
        "tr",
        { "data-check": check.name },
        el("td", {}, el("span", { class: `pill ${TONES[check.verdict] ?? ""}` }, asWord(check.verdict))),
        el("th", { scope: "row" }, check.name, check.required ? null : el("small", {}, " not required")),
        el("td", { class: "because" }, check.why, Object.hasOwn(overrides, check.name) ? el("small", {}, ` Counts as GO: ${overrides[check.name]}`) : null),
        el("td", { class: "number" }, check.samples === null ? "" : asCount(check.samples)),
        el("td", { class: "number" }, neededOf(check)),
      );
    return [el("table", { class: "plain" }, el("caption", { class: "hidden" }, "Checks of this stage"), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...checks.map(row)))];
  });
  reachWhenScrolling(byId("checks"));
}

function neededOf({ verdict, needed, eta_s }) {
  if (!needed || verdict === "NO_GO") return "";
  return eta_s === null ? asCount(needed) : `${asCount(needed)}, in ${asSpan(eta_s)}`;
}

function noteOf({ ended, over, plan, run }, lost, heard_s) {
  const what = `${plan}, run ${run}`;
  if (lost) return `The controller was not heard for ${asSpan(heard_s)}. The percentage stays as it is; nobody judges it. ${what}.`;
  if (ended) return over ? `It has ended. ${what}.` : `The controller was stopped; cutover rollout start goes on from here. ${what}.`;
  return `${what}.`;
}

function showButtons({ phase, stage, over }, silent) {
  const off = { pause: false, resume: false, promote: stage === 0 || phase === "paused", abort: false };
  for (const [word, disabled] of Object.entries(off)) {
    const button = byId(`open-${word}`);
    if (word === "pause") button.hidden = over || phase === "paused";
    else if (word === "resume") button.hidden = phase !== "paused";
    else button.hidden = over;
    button.disabled = disabled || silent;
  }
}
