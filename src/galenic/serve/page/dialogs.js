// What is looked up beside the answer: a passage, and the model's measured scores.

import { fact, link, make } from "./dom.js";
import { marked } from "./passage.js";

const COLUMNS = ["Benchmark", "Scoring", "Questions", "Accuracy (95 % interval)", "Macro-F1", "Majority baseline"];
const SCROLLS = { class: "scroll", role: "region", "aria-label": "Table of scores", tabindex: "0" };

/** Show a passage whole, with the cited sentence marked and all that is known of where it is from. */
export function openPassage(passage, sentence = "") {
  const facts = make(
    "dl",
    {},
    ...fact("From", passage.source),
    ...fact("Page or date", passage.place),
    ...fact("Document", passage.document),
    ...fact("Collection", passage.collection),
    ...fact("Licence", passage.license),
    ...fact("Attribution", passage.attribution),
    ...fact("Published at", passage.url ? link(passage.url, passage.url) : ""),
  );
  const question = passage.question ? make("p", { class: "heading" }, passage.question) : null;
  const text = make("div", { class: "text" }, ...marked(passage.text, sentence));
  show("passage", `[${passage.number}] ${passage.title}`, make("div", {}, question, text, facts));
}

/** Show the scores of the model that runs here. */
export function openScores(about) {
  const scores = about?.scores ?? [];
  const note = about === null ? "The scores could not be read from the server." : about.scores_note;
  const table = scores.length === 0 ? null : make("div", SCROLLS, scoreTable(scores));
  const model = about === null ? null : make("p", {}, "Model: ", make("strong", {}, about.model));
  show("scores", "Measured scores", make("div", {}, model, table, make("p", { class: "soft" }, note ?? "")));
}

/** Let both dialogs be closed by their button or a click beside them; Esc is the browser's. */
export function prepareDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
}

function show(id, title, content) {
  const dialog = document.getElementById(id);
  const asked = document.activeElement;
  document.getElementById(`${id}-title`).textContent = title;
  const body = document.getElementById(`${id}-body`);
  body.replaceChildren(content);
  dialog.addEventListener("close", () => asked?.focus(), { once: true });
  dialog.showModal();
  dialog.querySelector(".close").focus();
  body.scrollTop = 0;
  body.querySelector("mark")?.scrollIntoView({ block: "center" });
}

function scoreTable(scores) {
  const head = COLUMNS.map((name) => make("th", { scope: "col" }, name));
  const rows = scores.map((one) => {
    const accuracy = `${percent(one.accuracy)} (${percent(one.low)} to ${percent(one.high)})`;
    const values = [one.scoring, String(one.n), accuracy, percent(one.macro_f1), percent(one.majority)];
    // On a phone a row is a block, and each cell begins with the name of its column.
    const cells = values.map((value, at) => make("td", { "data-label": COLUMNS[at + 1] }, value));
    return make("tr", {}, make("th", { scope: "row" }, one.benchmark), ...cells);
  });
  return make("table", { "aria-label": "Scores in per cent" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function percent(share) {
  return typeof share === "number" ? (100 * share).toFixed(1) : "not known";
}
