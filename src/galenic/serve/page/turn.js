// One question and what is answered to it, drawn as the events come.

import { banner, crisis } from "./banner.js";
import { copyButton } from "./copy.js";
import { button, link, make } from "./dom.js";
import { answeredCard, questionCard } from "./questions.js";

const SECTIONS = {
  warning: "Take care",
  answer: "What the sources say",
  watch: "What to watch for",
  questions: "Questions for your appointment",
};
const NOTES = { guard: "For your safety", abstained: "No answer", note: "Note" };

/** A turn of the conversation; `root` is its element. */
export class Turn {
  /** @param openPassage shows a passage: called with it and the sentence that cites it.
   * @param again asks once more, with this turn's answers to what triage asked. */
  constructor(question, openPassage, again) {
    this.openPassage = openPassage;
    this.again = again;
    this.given = new Map(); // answers to what triage asked, by id
    this.passages = new Map();
    this.sections = new Map();
    this.list = null;
    this.head = make("div", { class: "banner" });
    this.body = make("div", { class: "answer" });
    this.waiting = make("p", { class: "waiting" }, "Reading the sources");
    this.end = make("p", { class: "end soft" });
    const answer = make("div", { "aria-live": "polite" }, this.head, this.body, this.waiting, this.end);
    const asked = make("p", { class: "asked" }, make("span", { class: "unseen" }, "You: "), question);
    this.tools = make("div", { class: "tools" });
    this.root = make("article", { class: "turn" }, asked, answer, this.tools);
  }

  /** Draw an event; names that are not known are left out. */
  show({ name, data }) {
    const known = {
      triage: () => this.showTier(data),
      sources: () => this.addSources(data.sources),
      sentence: () => this.addSentence(data),
      note: () => this.addNote(data.kind, data.text),
      done: () => this.finish(data),
      error: () => this.breakOff(data.message),
    };
    if (Object.hasOwn(known, name)) known[name]();
  }

  showTier(found) {
    const send = (answers) => {
      for (const { id, text } of found.questions) {
        if (Object.hasOwn(answers, id)) this.given.set(id, { text, answer: answers[id] });
      }
      this.again(this);
    };
    const change = () => {
      this.forgotten = [...this.given.keys()];
      this.given.clear();
      this.again(this);
    };
    const tier = banner(found);
    const asked = questionCard(found, send);
    const first = found.final === false ? [asked, tier] : [tier, asked]; // ask before judging
    const cards = [...crisis(found), ...first, answeredCard(this.given, change)];
    this.head.replaceChildren(...cards.filter((one) => one !== null));
    if (this.redrawn) (found.final === false && asked ? asked : tier).focus();
    this.redrawn = false;
  }

  /** Empty it, to be drawn once more. */
  reset() {
    this.passages.clear();
    this.sections.clear();
    this.list = null;
    for (const one of [this.head, this.body, this.end, this.tools]) one.replaceChildren();
    this.end.classList.remove("stopped");
    this.head.after(this.body, this.waiting, this.end);
    [this.ended, this.broken, this.redrawn] = [false, false, true];
  }

  addSources(sources) {
    for (const one of sources) this.passages.set(one.number, one);
    if (this.passages.size === 0) return;
    this.list?.remove();
    const rows = [...this.passages.values()].map((one) =>
      make(
        "li",
        {},
        this.cite(one.number, `[${one.number}] ${one.title}`, "open"),
        make("span", { class: "soft" }, [one.source, one.place].filter(Boolean).join(", ")),
      ),
    );
    const summary = make("summary", {}, `Passages found (${rows.length})`);
    this.list = make("details", { class: "passages" }, summary, make("ul", {}, ...rows));
    this.body.append(this.list);
  }

  addSentence({ section, text, sources = [], rule = null }) {
    const marks = sources.flatMap((number) => [" ", this.cite(number, `[${number}]`, "cite", text)]);
    const list = this.section(section);
    const where = rule ? make("span", { class: "rule" }, link(rule.name, rule.url)) : null;
    if (where && section !== "questions") marks.push(" ", where);
    if (!where && marks.length === 0) marks.push(" ", make("span", { class: "unsourced" }, "not sourced"));
    list.append(make("li", {}, make("span", {}, text), ...marks));
    // questions come from one place: it is said once, behind them
    if (where && section === "questions" && list.nextSibling === null) list.after(where);
  }

  /** The list of a section; sections stand in their order, whatever comes first. */
  section(name) {
    const wanted = name in SECTIONS ? name : "answer";
    if (!this.sections.has(wanted)) {
      const list = make("ul");
      const made = make("section", { class: `part part-${wanted}` }, make("h3", {}, SECTIONS[wanted]), list);
      const order = Object.keys(SECTIONS);
      const later = order.slice(order.indexOf(wanted) + 1).find((one) => this.sections.has(one));
      this.body.insertBefore(made, later ? this.sections.get(later).parentNode : this.list);
      this.sections.set(wanted, list);
    }
    return this.sections.get(wanted);
  }

  cite(number, label, kind, sentence = "") {
    const passage = this.passages.get(number);
    if (passage === undefined) return make("span", { class: "unsourced" }, `${label}: missing`);
    const name = kind === "cite" ? { "aria-label": `Source ${number}: ${passage.title}` } : {};
    return button(label, () => this.openPassage(passage, sentence), { class: kind, ...name });
  }

  addNote(kind, text) {
    const known = kind in NOTES ? kind : "note";
    const note = make("p", { class: `note note-${known}` }, make("strong", {}, `${NOTES[known]}: `), text);
    this.body.insertBefore(note, this.list);
    if (known !== "abstained" || this.list === null) return;
    this.list.open = true;
    this.list.firstChild.textContent = `The nearest passages (${this.passages.size})`;
  }

  finish({ seconds, model, tokens }) {
    const took = seconds < 0.1 ? "less than 0.1" : Number(seconds).toFixed(1);
    const parts = [`Done in ${took} s`, model && `ordered by ${model}`];
    if (model && tokens > 0) parts[1] = `written by ${model}, ${tokens} tokens`;
    this.close(parts.filter(Boolean).join(" · "));
  }

  /** The person ended it; what was shown stays. */
  stop() {
    this.end.classList.add("stopped");
    this.close("Stopped. The answer above is not complete.");
  }

  breakOff(message) {
    const text = message || "the answer broke off";
    this.body.append(make("p", { class: "note note-guard", role: "alert" }, make("strong", {}, "Broken off: "), text));
    this.broken = true;
    this.close("Not complete.");
  }

  close(words) {
    this.ended = true;
    this.waiting.remove();
    this.end.textContent = words;
    this.tools.replaceChildren(copyButton(this.root));
  }
}
