// Says in sentences what a change would do. Pure.

import { asBuckets } from "./format.js";
import { shareInForce } from "./model.js";

// `wish`: { percentage, enabled, persist }. An empty list means that nothing would change.
export function planOf(status, config, wish) {
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
  return plan;
}

export function rollbackPlanOf(status) {
  const { names } = status;
  return [
    `Percentage: ${status.percentage} % → 0 %`,
    `Enabled: ${yes(status.enabled)} → no`,
    movement(shareInForce(status), 0, names),
    "In force in every worker at once, and written to the configuration file; where that can't be written, an override",
  ];
}

function movement(from, to, names) {
  if (from === to) return "Nobody moves";
  const [source, destination] = to > from ? [names.legacy, names.target] : [names.target, names.legacy];
  const stays = Math.min(from, to) === 0 && Math.max(from, to) === 100 ? "" : "; all others stay where they are";
  return `Users in ${asBuckets(Math.min(from, to), Math.max(from, to))} move from ${source} to ${destination}${stays}`;
}

const yes = (flag) => (flag ? "yes" : "no");
