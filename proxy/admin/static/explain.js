// "Where does this user go, and why?": asks `explain` and shows the answer as text.

import { byId, el, facts, sourceName } from "./dom.js";

export function setUpExplain() {
  const form = byId("explain");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = new URLSearchParams(new FormData(form));
    byId("explained").replaceChildren(...(await answer(query)));
  });
}

async function answer(query) {
  try {
    const response = await fetch(`explain?${query}`, { cache: "no-store" });
    const body = await response.json();
    return response.ok ? shown(body) : [el("p", { class: "bad" }, `Not explained: ${body.detail}`)];
  } catch {
    return [el("p", { class: "bad" }, "Not explained: cutover can't be reached")];
  }
}

function shown(told) {
  const moves = told.moves_at === null ? told.stays : `at ${told.moves_at} % and above on the target`;
  return [
    el("p", { class: "verdict" }, el("span", { class: "user" }, told.user ?? "No user id"), " → ", sourceName(told.role, told.source)),
    el(
      "dl",
      { class: "facts" },
      ...facts([
        ["Because", `${told.because} (${told.reason})`],
        ["Bucket", told.bucket ?? "none"],
        ["Moves", moves],
        ["Operation", told.operation],
      ]),
    ),
  ];
}
