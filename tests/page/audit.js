// What a checker of accessibility would find first, as sentences. Run in the page; gives a list.
() => {
  const found = [];
  const visible = (node) => node.checkVisibility({ visibilityProperty: true });
  const text = (node) => node?.textContent.trim() ?? "";
  const labelled = (node) => (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => text(document.getElementById(id))).join("");
  const name = (node) => node.getAttribute("aria-label") || labelled(node) || [...(node.labels ?? [])].map(text).join("") || (node.matches("button, a") ? text(node) : "");
  const say = (what, node) => found.push(`${what}: ${node.outerHTML.slice(0, 90)}`);

  for (const node of document.querySelectorAll("button, a[href], input, select, [tabindex='0'], section, dialog, svg[role=img]")) {
    if (visible(node) && !name(node)) say("no name", node);
  }
  for (const node of document.querySelectorAll("svg:not([role=img])")) if (!node.matches("[aria-hidden=true]")) say("a picture without words", node);
  for (const node of document.querySelectorAll("fieldset")) if (!text(node.querySelector("legend"))) say("a group without a legend", node);
  for (const node of document.querySelectorAll("[id]")) if (document.querySelectorAll(`#${CSS.escape(node.id)}`).length > 1) say("an id twice", node);
  for (const node of document.querySelectorAll("label[for], [aria-labelledby]")) {
    const id = node.getAttribute("for") ?? node.getAttribute("aria-labelledby");
    if (!document.getElementById(id)) say("a label of nothing", node);
  }
  for (const table of document.querySelectorAll("table")) {
    if (!text(table.caption)) say("a table without a caption", table);
    for (const head of table.querySelectorAll("th")) if (!head.scope || !text(head)) say("a heading without scope or words", head);
  }
  for (const list of document.querySelectorAll("ul, ol")) {
    if (list.hasAttribute("role") || [...list.children].some((child) => child.tagName !== "LI")) say("a list that is none", list);
  }
  for (const list of document.querySelectorAll("dl")) {
    if ([...list.children].some((child) => child.tagName !== "DIV" || !child.querySelector("dt") || !child.querySelector("dd"))) say("facts that are none", list);
  }
  let level = 0;
  for (const heading of document.querySelectorAll("main :is(h1, h2, h3)")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) say("a heading that skips a level", heading);
    level = next;
  }
  for (const node of document.querySelectorAll("[tabindex]")) if (node.tabIndex > 0) say("an order of its own", node);
  for (const box of document.querySelectorAll("main *")) {
    const { overflowX, overflowY } = getComputedStyle(box);
    const wide = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(overflowX);
    const tall = box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(overflowY);
    const scrolls = wide || tall;
    if (scrolls && box.tabIndex < 0 && !box.querySelector("button, a, input")) say("scrolls, but not by keyboard", box);
  }
  return found;
}
