// The two sources side by side, one block for each operation: a table of figures, and three charts.

import { Chart } from "./charts.js";
import { byId, el, renderWhenChanged, setAttribute, setText, sourceName } from "./dom.js";
import { asCount, asGoal, asMs, asRate, asRatio } from "./format.js";
import { ERROR_GOAL, figuresOf, judge, operationsOf, p95Goal, ROLES } from "./model.js";

const COLUMNS = [
  ["requests", "Requests", asCount],
  ["rate", "Rate /s", asRate],
  ["error_ratio", "Errors", asRatio],
  ["p50_ms", "p50", asMs],
  ["p95_ms", "p95", asMs],
  ["p99_ms", "p99", asMs],
];
const JUDGED = { error_ratio: "errors", p95_ms: "p95" };
const blocks = new Map();

// Returns whether blocks were made, which have no lines in their charts yet.
export function showSources(status, config, window) {
  const { busy, idle } = operationsOf(status);
  const { names } = status;
  let made = false;
  renderWhenChanged(byId("legend"), names, () => [
    ...ROLES.map((role) => el("li", { class: role }, sourceName(role, names[role]), role === "legacy" ? " (legacy, dashed)" : " (target, solid)")),
  ]);
  renderWhenChanged(byId("operations"), [busy, names], () => {
    made = true;
    blocks.clear();
    busy.forEach((name) => blocks.set(name, new Block(name, names)));
    return busy.length ? [...blocks.values()].map((block) => block.node) : [el("p", { class: "note" }, "No requests in the last 5 minutes.")];
  });
  setText(byId("idle"), idle.length ? `No requests in the last 5 minutes: ${idle.join(", ")}` : "");
  for (const [name, block] of blocks) block.show(status, config, window);
  return made;
}

export function drawSources(points, now, marks) {
  for (const block of blocks.values()) block.draw(points, now, marks);
}

class Block {
  constructor(operation, names) {
    this.operation = operation;
    this.names = names;
    this.cells = {};
    this.route = el("span", { class: "route" });
    const goal = p95Goal(operation);
    this.goal = goal === null ? "Goal: errors under 0.1 %" : `Goal: p95 under ${asGoal(goal)}, errors under 0.1 %`;
    const heading = el("h3", {}, operation, " ", this.route, el("span", { class: "goal-text" }, this.goal));
    this.figures = ["Rate", "Errors", "p95"].map(() => el("figure", { class: "chart" }));
    this.node = el("article", { class: "operation", "aria-label": operation }, heading, this.table(), el("div", { class: "charts" }, ...this.figures));
    const spec = (title, format, least, bound) => ({ title, format, least, goal: bound, roles: ROLES, names });
    this.charts = [
      new Chart(this.figures[0], spec("Rate /s", asRate, 1)),
      new Chart(this.figures[1], spec("Errors", asRatio, 0.01, ERROR_GOAL)),
      new Chart(this.figures[2], spec("p95", asMs, goal ? goal * 1.25 : 10, goal)),
    ];
  }

  table() {
    const head = el("tr", {}, el("th", { scope: "col" }, el("span", { class: "hidden" }, "Source")), ...COLUMNS.map(([key, title]) => el("th", { scope: "col", class: key }, title)));
    const rows = ROLES.map((role) => {
      this.cells[role] = COLUMNS.map(([key]) => el("td", { class: key, "data-source": role, "data-figure": key }));
      return el("tr", { class: role }, el("th", { scope: "row" }, sourceName(role, this.names[role])), ...this.cells[role]);
    });
    const columns = el("colgroup", {}, el("col", { class: "names" }), ...COLUMNS.map(([key]) => el("col", { class: key })));
    return el("div", { class: "scroll" }, el("table", {}, el("caption", { class: "hidden" }, `${this.operation}: both sources`), columns, el("thead", {}, head), el("tbody", {}, ...rows)));
  }

  show(status, config, window) {
    const route = config?.operations.get(this.operation)?.route;
    setText(this.route, route === "split" ? "split" : route ? `always ${status.names[route] ?? route}` : "");
    for (const role of ROLES) {
      const figures = figuresOf(status, role, this.operation, window);
      const verdict = role === "target" ? judge(figures, this.operation) : {};
      COLUMNS.forEach(([key, , format], index) => {
        const cell = this.cells[role][index];
        const value = figures.requests || key === "requests" || key === "rate" ? figures[key] ?? 0 : null;
        setText(cell, format(value)); // the sign of the verdict comes from the style sheet, beside the figure
        if (JUDGED[key]) setAttribute(cell, "data-verdict", verdict[JUDGED[key]] ?? "");
      });
    }
  }

  draw(points, now, marks) {
    const series = (index) =>
      Object.fromEntries(
        ROLES.map((role) => [role, points.map((point) => [point.at, point.sources?.[this.names[role]]?.[this.operation]?.[index] ?? null])]),
      );
    this.charts.forEach((chart, index) => chart.draw(series(index), now, marks));
  }
}
