// Says in sentences what a change would do. Pure.

import { asBuckets } from "./format.js";
import { shareInForce } from "./model.js";

const STOPS = "The staged rollout that runs stops for good: somebody else has changed the percentage";

const runs = (rollout) => rollout && !rollout.over && !rollout.ended;

// `wish`: { percentage, enabled, persist }; `rollout` is the staged one or null. An empty list means that nothing would
// change.
export function planOf(status, config, wish, rollout) {
  const { names } = status;
  const after = { ...status, percentage: wish.percentage, enabled: wish.enabled };
  const changed = wish.percentage !== status.percentage || wish.enabled !== status.enabled;
  if (!changed && !(status.override && wish.persist)) return [];
  const plan = [];
  if (wish.percentage !== status.percentage) plan.push(`Percentage: ${status.percentage} % → ${wish.percentage} %`);
  if (wish.enabled !== status.enabled) plan.push(`Enabled: ${yes(status.enabled)} → ${yes(wish.enabled)}`);
  plan.push(movement(shareInForce(status), shareInForce(after), names));
  if (status.kill_switch) plan.push(`The kill switch is on: everything goes to ${names.legacy} all the same`);
  else if (wish.percentage > 0 && !wish.enabled) plan.push("Enabled is no: nobody moves until it is yes");
  for (const [name, operation] of config?.operations ?? []) {
    if (Number.isInteger(operation.percentage) && wish.percentage > 0) plan.push(`${name} keeps the percentage of its own, ${operation.percentage} %`);
  }
  plan.push(wish.persist ? "Written to the configuration file, and in force in every worker at once" : "The file stays as it is: an override, until the next change or until the file's rollout section changes");
  if (status.override) plan.push("The override that is in force now ends");
  if (runs(rollout) && changed) plan.push(STOPS);
  return plan;
}

export function rollbackPlanOf(status, rollout) {
  const { names } = status;
  return [
    `Percentage: ${status.percentage} % → 0 %`,
    `Enabled: ${yes(status.enabled)} → no`,
    movement(shareInForce(status), 0, names),
    "In force in every worker at once, and written to the configuration file; where that can't be written, an override",
    ...(runs(rollout) ? [STOPS] : []),
  ];
}

// What an order to the controller of a staged rollout does. `choice`: { keep, check }.
export function orderPlanOf(word, rollout, choice) {
  const { stage, stages, percentage, phase } = rollout;
  const next = stages[stage];
  switch (word) {
    case "pause":
      return [`It stays at ${percentage} % until somebody resumes it`, "No time counts towards the stage", "A NO_GO still takes the users back"];
    case "resume":
      return [`It goes on at ${percentage} %, where it was paused`];
    case "promote":
      return [
        stage === 0 ? "Refused until the first stage has begun" : next === undefined ? `Stage ${stage}, the last one, is approved` : `Stage ${stage} is approved: ${next} % follows`,
        phase === "approval" ? "At its next tick, for every check is GO" : "Once its time is held and every required check is GO, not before",
        choice.check ? `${choice.check} counts as GO for this stage, which is kept in the journal with the reason` : null,
      ].filter((line) => line !== null);
    default:
      return [choice.keep || stage === 0 ? `The rollout ends, and ${percentage} % stays in force` : "The rollout ends, and its users go back as after a NO_GO", "It can't be taken up again: a new one begins at its first stage"];
  }
}

function movement(from, to, names) {
  if (from === to) return "Nobody moves";
  const [source, destination] = to > from ? [names.legacy, names.target] : [names.target, names.legacy];
  const stays = Math.min(from, to) === 0 && Math.max(from, to) === 100 ? "" : "; all others stay where they are";
  return `Users in ${asBuckets(Math.min(from, to), Math.max(from, to))} move from ${source} to ${destination}${stays}`;
}

const yes = (flag) => (flag ? "yes" : "no");
