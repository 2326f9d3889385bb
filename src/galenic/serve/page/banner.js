// How soon to get help: colour, shape and words say the same.

import { calls } from "./call.js";
import { icon, link, make } from "./dom.js";

const TIERS = {
  emergency: "Emergency: get help now",
  today: "Get medical help today",
  days: "See someone within a few days",
  "self-care": "You can usually look after this yourself",
  unknown: "We could not tell how urgent this is",
};
const WHY_NOT = {
  denied: "you said it is not there",
  past: "it was in the past",
  family: "it is about somebody else in the family",
  question: "it was asked about, not reported",
};

/** What is said before all else to somebody whose words sound like a cry for help. */
export function crisis(found) {
  if (!found.crisis) return [];
  const parts = String(found.crisis.text).split(/\n\n+/).map((part) => {
    const rows = part.split("\n");
    const listed = rows.filter((row) => row.startsWith("- "));
    if (listed.length === 0) return make("p", {}, part);
    const before = rows.filter((row) => !row.startsWith("- ")).join(" ");
    const items = listed.map((row) => make("li", {}, row.slice(2)));
    return make("div", {}, make("p", {}, before), make("ul", {}, ...items));
  });
  return [make("section", { class: "crisis", role: "alert", "aria-label": "Help now" }, ...parts)];
}

/** The banner of what the rules found. An emergency, and a tier that a model raised,
 * interrupt a screen reader. */
export function banner(found) {
  const tier = found.tier in TIERS ? found.tier : "unknown";
  const findings = found.findings ?? [];
  const leading = findings.filter((one) => one.tier === found.tier);
  const role = tier === "emergency" || found.raised ? { role: "alert" } : {};
  return make(
    "section",
    { class: `tier tier-${tier}`, "aria-label": "How soon to get help", tabindex: "-1", ...role },
    icon(tier),
    make(
      "div",
      { class: "tier-text" },
      make("h2", {}, found.general ? "A general question" : TIERS[tier]),
      tier === "emergency" ? calls(found.calls) : null, // first: it is what to do now
      ...unsaid(toDo(found, leading)).map((text) => make("p", { class: "do" }, text)),
      ...(found.notes ?? []).map((text) => make("p", {}, text)),
      found.raised ? make("p", { class: "raised" }, found.raised) : null,
      reasons("Why", leading),
      reasons("Also noticed, less urgent", findings.filter((one) => !leading.includes(one))),
      people(found.people ?? []),
      asides(found.asides ?? []),
      make("p", { class: "small" }, found.notice ?? ""),
    ),
  );
}

/** What to do, of each finding; of a cry for help, which several layers notice, once a source. */
function toDo(found, leading) {
  const firsts = leading.filter((one, at) => at === leading.findIndex((other) => other.source?.url === one.source?.url));
  return (found.crisis ? firsts : leading).map((one) => one.do);
}

function reasons(title, findings) {
  if (findings.length === 0) return null;
  const rows = findings.map((one) => {
    const words = (one.words ?? []).flatMap((text, i) => [i > 0 ? ", " : "", make("q", {}, text)]);
    const source = one.source ? make("span", { class: "from" }, "Source: ", link(one.source.name, one.source.url)) : null;
    const from = words.length > 0 ? make("span", { class: "from" }, one.layer === "questions" ? "Your answer to: " : "From your words: ", ...words) : null;
    return make("li", {}, make("span", {}, one.reason), from, source);
  });
  return make("div", { class: "why" }, make("h3", {}, title), make("ul", {}, ...rows));
}

function people(names) {
  if (names.length === 0) return null;
  return make("p", { class: "small" }, `Taken into account: ${names.join("; ")}.`);
}

function asides(found) {
  if (found.length === 0) return null;
  const rows = found.map((one) =>
    make("li", {}, make("q", {}, one.words), `: ${WHY_NOT[one.why] ?? one.why}`),
  );
  const summary = make("summary", {}, `Mentioned, but not counted (${found.length})`);
  return make("details", {}, summary, make("ul", {}, ...rows));
}

/** Texts without the sentences that stand in those before: two rules often say to call for help. */
function unsaid(texts) {
  const said = new Set();
  const shorter = texts.map((text) => {
    const fresh = String(text).split(/(?<=[.!?])\s+/).filter((one) => !said.has(one));
    fresh.forEach((one) => said.add(one));
    return fresh.join(" ");
  });
  return shorter.filter(Boolean);
}
