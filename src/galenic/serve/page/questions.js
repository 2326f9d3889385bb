// What triage asks back: a card of questions with buttons, and what was answered so far.

import { button, make } from "./dom.js";

const LABELS = { yes: "Yes", no: "No", "not sure": "Not sure" };

/** The open questions of a result. `send` is called with the answers, by id, when all are given,
 * when a yes needs help at once, or when the person wants the result now. */
export function questionCard(found, send) {
  const questions = found.questions ?? [];
  if (questions.length === 0) return null;
  const answers = {};
  const now = button("Show the result now", () => send(answers), { class: "quiet", hidden: "" });
  const choose = (one, answer) => {
    answers[one.id] = answer;
    const urgent = answer === "yes" && one.tier === "emergency";
    if (urgent || questions.every(({ id }) => Object.hasOwn(answers, id))) send(answers);
    else now.hidden = false;
  };
  const title = questions.length === 1 ? "One question first" : `${questions.length} short questions`;
  const why = found.final === false ? "What is shown below is not final: your answers may change it." : "Your answers may change how soon you need help.";
  return make(
    "section",
    { class: "ask-back", tabindex: "-1", "aria-label": "Questions about how soon to get help" },
    make("h3", {}, title),
    make("p", { class: "soft" }, `${why} If you do not know, choose Not sure.`),
    ...questions.map((one) => row(one, choose)),
    now,
  );
}

function row(one, choose) {
  const buttons = Object.entries(LABELS).map(([answer, label]) =>
    button(label, (pressed) => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === pressed));
      choose(one, answer);
    }, { class: "quiet choice", "aria-pressed": "false" }),
  );
  const choices = make("div", { class: "choices" }, ...buttons);
  return make("div", { class: "row", role: "group", "aria-label": one.text }, make("p", {}, one.text), choices);
}

/** What the person answered to this question; `change` forgets it and asks again. */
export function answeredCard(given, change) {
  if (given.size === 0) return null;
  const rows = [...given.values()].map(({ text, answer }) =>
    make("li", {}, `${text} `, make("strong", {}, LABELS[answer] ?? answer)),
  );
  const summary = make("summary", {}, `Your answers (${given.size})`);
  return make(
    "details",
    { class: "answered" },
    summary,
    make("ul", {}, ...rows),
    button("Change answers", change, { class: "quiet" }),
  );
}
