// Making and updating elements. Text gets in as text only: nothing here, or anywhere on this page, parses markup.

const SVG = "http://www.w3.org/2000/svg";
const shown = new WeakMap();

export const byId = (id) => document.getElementById(id);

// el("li", { class: "bad" }, "text", otherElement); null and undefined children are left out.
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

// Touch the text only when it differs, so that selections and screen readers are left alone.
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

// Build a node's children anew only when what they are made of has changed.
export function renderWhenChanged(node, facts, build) {
  const key = JSON.stringify(facts);
  if (shown.get(node) === key) return;
  shown.set(node, key);
  node.replaceChildren(...build(facts).filter((child) => child !== null && child !== undefined));
}

// The sign of a role: the same shape wherever a source is named or drawn.
export function sign(role) {
  const shape =
    role === "target"
      ? svg("circle", { cx: 6, cy: 6, r: 4.5, class: "full" })
      : svg("path", { d: "M6 1.4 10.6 6 6 10.6 1.4 6Z", class: "hollow" });
  return svg("svg", { class: `sign ${role}`, viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, shape);
}

export function sourceName(role, name) {
  return el("span", { class: `source ${role}` }, sign(role), name);
}

// Facts for a definition list: [[term, text, class], …]
export function facts(list) {
  return list.map(([term, text, tone]) => el("div", { class: tone ?? "" }, el("dt", {}, term), el("dd", {}, text)));
}

// The same in a list that stays, so that what somebody has selected in it does too.
export function updateFacts(node, list) {
  renderWhenChanged(node, list.map(([term]) => term), () => facts(list));
  list.forEach(([, text, tone], index) => {
    setAttribute(node.children[index], "class", tone ?? "");
    setText(node.children[index].lastChild, text);
  });
}

// What scrolls can be scrolled with the keyboard, and what does not is no stop on its way.
export function reachWhenScrolling(node) {
  if (node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight) setAttribute(node, "tabindex", "0");
  else node.removeAttribute("tabindex");
}
