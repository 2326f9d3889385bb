// Emergency numbers that a phone can call with one touch, as the server lists them.

import { make } from "./dom.js";

/** Links to the emergency numbers of `found.calls`, the likely one of the reader's country first. */
export function calls(found) {
  const links = (found?.numbers ?? []).map(({ number, where }) =>
    make("li", {}, make("a", { class: "call", href: `tel:${String(number).replace(/[^\d+]/g, "")}` }, `Call ${number}`), make("span", { class: "from" }, where)),
  );
  return make(
    "div",
    { class: "calls" },
    make("ul", { "aria-label": "Emergency numbers" }, ...links),
    make("p", { class: "from" }, found?.elsewhere ?? "Call the emergency number of the country you are in."),
  );
}
