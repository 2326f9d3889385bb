// Emergency numbers that a phone can call with one touch.

import { make } from "./dom.js";

const NUMBERS = [
  { number: "112", where: "Europe, and most mobile phones" },
  { number: "911", where: "North America" },
  { number: "999", where: "United Kingdom" },
  { number: "000", where: "Australia" },
];
const BY_REGION = { US: "911", CA: "911", MX: "911", GB: "999", AU: "000" };

/** Links to the usual emergency numbers, the likely one of the person's language first. */
export function calls(languages = navigator.languages ?? []) {
  const likely = BY_REGION[region(languages[0] ?? "")] ?? "112";
  const rows = [...NUMBERS].sort((one, other) => (other.number === likely) - (one.number === likely));
  const links = rows.map(({ number, where }) =>
    make("li", {}, make("a", { class: "call", href: `tel:${number}` }, `Call ${number}`), make("span", { class: "from" }, where)),
  );
  return make(
    "div",
    { class: "calls" },
    make("ul", { "aria-label": "Emergency numbers" }, ...links),
    make("p", { class: "from" }, "Elsewhere: call the emergency number of the country you are in."),
  );
}

function region(language) {
  try {
    return new Intl.Locale(language).region ?? "";
  } catch {
    return "";
  }
}
