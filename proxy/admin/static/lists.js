// The lower part: fallbacks, events, configuration, workers.

import { byId, el, reachWhenScrolling, renderWhenChanged, setText, updateFacts } from "./dom.js";
import { asAgo, asClock, asCount, asMoment } from "./format.js";
import { fallbacksOf } from "./model.js";

const REASONS = {
  connect_error: "no connection",
  tls_error: "TLS failed",
  timeout: "no answer in time",
  reset: "closed before the end",
  invalid_response: "not a valid response",
  overload: "no place in the pool",
};

export function showFallbacks(status) {
  renderWhenChanged(byId("fallbacks"), fallbacksOf(status), (rows) => {
    if (!rows.length) return [el("p", { class: "note" }, "None in the last 5 minutes.")];
    const head = ["Operation", "Reason", "1 min", "5 min"].map((title, index) => el("th", { scope: "col", class: index > 1 ? "number" : null }, title));
    const body = rows.map((row) =>
      el(
        "tr",
        { "data-reason": row.reason },
        el("td", {}, row.operation),
        el("th", { scope: "row" }, row.reason, Object.hasOwn(REASONS, row.reason) ? el("small", {}, ` ${REASONS[row.reason]}`) : null),
        el("td", { class: "number" }, asCount(row["1m"])),
        el("td", { class: "number" }, asCount(row["5m"])),
      ),
    );
    return [el("table", { class: "plain" }, el("caption", { class: "hidden" }, "Fallbacks by operation and reason"), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body))];
  });
}

export function showEvents(events, since) {
  renderWhenChanged(byId("events"), [events, since], () => [
    ...events.toReversed().map((event) =>
      el(
        "li",
        { class: event.level, "data-kind": event.kind },
        el("time", { datetime: new Date(event.at * 1000).toISOString() }, asMoment(event.at, Date.now() / 1000)),
        el("span", {}, event.text),
      ),
    ),
    events.length ? null : el("li", { class: "note" }, `Nothing notable since ${asMoment(since, Date.now() / 1000)}.`),
  ]);
  reachWhenScrolling(byId("events"));
}

export function showConfiguration(status, now) {
  const { reload } = status;
  const rejected = reload.result === "rejected";
  const list = [
    ["Version", String(status.version ?? "?")],
    ["Revision", String(status.revision ?? "?")],
    ["Last reload", `${reload.result ?? "?"} at ${asClock(reload.at)}, ${asAgo(now - reload.at)}`, rejected ? "bad" : ""],
  ];
  updateFacts(byId("config"), list);
  const error = byId("config-error");
  error.hidden = !rejected;
  setText(error, rejected ? String(reload.error ?? "") : "");
  renderWhenChanged(byId("workers"), [status.workers, status.revision], ([workers, revision]) => {
    const head = ["Worker", "Process", "State", "Breaker", "Clients", "Revision"].map((title, index) => el("th", { scope: "col", class: index === 4 ? "number" : null }, title));
    const row = (worker) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, worker.worker),
        el("td", {}, worker.pid),
        el("td", {}, worker.state),
        el("td", {}, worker.breaker),
        el("td", { class: "number" }, asCount(worker.connections)),
        el("td", { class: worker.revision === revision ? null : "warn" }, worker.revision),
      );
    return [el("table", { class: "plain" }, el("caption", { class: "hidden" }, "Workers"), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...workers.map(row)))];
  });
  reachWhenScrolling(byId("workers"));
}
