// Small time charts of the last 15 minutes: lines that stretch with their box, all words beside them in HTML.
// The two sources differ by line as well as by colour: legacy is dashed, the target is solid.

import { el, setAttribute, setText, sign, svg } from "./dom.js";
import { asClock } from "./format.js";

export const SPAN_S = 900;
const WIDTH = 900;
const HEIGHT = 100;
const TOP = 4; // so that a line at the top is drawn in full
const GAP_S = 12; // points further apart than this are not joined

// A chart in `figure`. `spec`: { title, roles, names, format, goal, least, step }.
export class Chart {
  constructor(figure, spec) {
    this.spec = spec;
    this.series = {};
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.area = svg("path", { class: "area" });
    this.grid = svg("path", { class: "grid" });
    this.goal = svg("path", { class: "goal" });
    this.marks = svg("path", { class: "marks" });
    this.cursor = svg("path", { class: "cursor" });
    this.picture.append(this.grid, this.area, this.goal, this.marks);
    this.lines = {};
    for (const role of spec.roles) {
      this.lines[role] = svg("path", { class: `line ${role}` });
      this.picture.append(this.lines[role]);
    }
    this.picture.append(this.cursor);
    this.top = el("span", { class: "top-value" });
    this.read = el("span", { class: "read", "aria-hidden": "true" });
    figure.replaceChildren(el("figcaption", {}, el("span", {}, spec.title), this.read, this.top), this.picture);
    figure.addEventListener("pointermove", (event) => this.point(event));
    figure.addEventListener("pointerleave", () => this.leave());
  }

  // `series`: role → [[at, value or null], …]; `now` and `marks` in seconds since the epoch.
  draw(series, now, marks = []) {
    this.series = series;
    this.from = now - SPAN_S;
    const { least, goal, format } = this.spec;
    const values = this.spec.roles.flatMap((role) => (series[role] ?? []).map(([, value]) => value ?? 0));
    const highest = Math.max(least, ...values);
    this.scale = ceiling(highest);
    setText(this.top, format(this.scale));
    setAttribute(this.grid, "d", `M0 ${HEIGHT - 0.5}H${WIDTH}`);
    setAttribute(this.goal, "d", goal && goal <= this.scale ? `M0 ${this.y(goal)}H${WIDTH}` : "");
    setAttribute(this.marks, "d", marks.map((at) => `M${this.x(at)} 0V${HEIGHT}`).join(""));
    for (const role of this.spec.roles) setAttribute(this.lines[role], "d", this.path(series[role] ?? []));
    if (this.spec.step) setAttribute(this.area, "d", this.filled(series[this.spec.roles[0]] ?? []));
    setAttribute(this.picture, "aria-label", this.describe());
  }

  x(at) {
    return Math.round(Math.min(Math.max(at - this.from, 0), SPAN_S) * (WIDTH / SPAN_S) * 10) / 10;
  }

  y(value) {
    return Math.round((HEIGHT - (value / this.scale) * (HEIGHT - TOP)) * 10) / 10;
  }

  path(points) {
    let text = "";
    let before = null;
    for (const [at, value] of points) {
      if (value === null || at < this.from) {
        before = null;
        continue;
      }
      const [x, y] = [this.x(at), this.y(value)];
      if (before === null || at - before > GAP_S) text += `M${x} ${y}h.1`;
      else text += this.spec.step ? `H${x}V${y}` : `L${x} ${y}`;
      before = at;
    }
    return text;
  }

  filled(points) {
    const here = points.filter(([at, value]) => value !== null && at >= this.from);
    if (here.length < 2) return "";
    return `M${this.x(here[0][0])} ${HEIGHT}V${this.y(here[0][1])}${here.map(([at, v]) => `H${this.x(at)}V${this.y(v)}`).join("")}V${HEIGHT}Z`;
  }

  describe() {
    const { title, roles, names, format, goal } = this.spec;
    const each = roles.map((role) => {
      const values = (this.series[role] ?? []).map(([, value]) => value).filter((value) => value !== null);
      if (!values.length) return `${names[role]} no requests`;
      return `${names[role]} now ${format(values.at(-1))}, highest ${format(Math.max(...values))}`;
    });
    return `${title}, last 15 minutes: ${each.join("; ")}${goal ? `; goal ${format(goal)}` : ""}`;
  }

  // What the chart says at the pointer.
  point(event) {
    const box = this.picture.getBoundingClientRect();
    const at = this.from + ((event.clientX - box.left) / box.width) * SPAN_S;
    const found = this.spec.roles
      .map((role) => [role, nearest(this.series[role] ?? [], at)])
      .filter(([, point]) => point !== null);
    if (!found.length) return this.leave();
    const parts = found.map(([role, [, value]]) => el("span", { class: role }, this.spec.roles.length > 1 ? sign(role) : null, this.spec.format(value)));
    this.read.replaceChildren(asClock(found[0][1][0]), ...parts);
    setAttribute(this.cursor, "d", `M${this.x(found[0][1][0])} 0V${HEIGHT}`);
  }

  leave() {
    this.read.replaceChildren();
    setAttribute(this.cursor, "d", "");
  }
}

function nearest(points, at) {
  let best = null;
  for (const point of points) {
    if (point[1] !== null && Math.abs(point[0] - at) <= GAP_S && (best === null || Math.abs(point[0] - at) < Math.abs(best[0] - at))) best = point;
  }
  return best;
}

// The next of 1, 2, 2.5, 5, 10, … at or above.
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}
