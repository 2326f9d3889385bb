// The page: what is typed, what is asked, and what is forgotten. All of it is in memory only.

import { openPassage, openScores, prepareDialogs } from "./dialogs.js";
import { make } from "./dom.js";
import { filesRead, forgetFiles, prepareNotes } from "./notes.js";
import { ask, fetchAbout } from "./stream.js";
import { Turn } from "./turn.js";

const MOST_HISTORY = 50; // earlier messages that the server takes
const THIS_MACHINE = ["127.0.0.1", "localhost", "[::1]"];

const part = (id) => document.getElementById(id);
const [question, context, conversation] = ["question", "context", "conversation"].map(part);
const state = { key: "", history: [], answers: {}, running: null, about: null, following: false };

async function send() {
  const text = question.value.trim();
  if (text === "" || state.running !== null) return;
  const running = new AbortController();
  setRunning(running);
  tell("problem", "");
  await waitForFiles(running.signal);
  if (running.signal.aborted) {
    if (state.running === running) setRunning(null);
    return;
  }
  const body = { question: text, history: state.history.slice(-MOST_HISTORY), context: context.value.trim() || null };
  const turn = new Turn(text, openPassage, (one) => sendAgain(one, body));
  try {
    const events = await ask(withAnswers(body), state.key, running.signal);
    if (running.signal.aborted) return; // it was cleared meanwhile
    begin(turn, text);
    await follow(turn, events, running.signal);
    if (turn.broken) giveBack(text);
  } catch (error) {
    if (running.signal.aborted) turn.stop();
    else fail(turn, text, error);
  } finally {
    if (state.running === running) setRunning(null);
  }
}

/** Notes that are still being read belong to the question: it waits for them, or for Stop. */
async function waitForFiles(signal) {
  const read = filesRead();
  if (read === null) return;
  tell("problem", "A file is still being read. The question is sent as soon as it is in the notes.");
  await Promise.race([read, new Promise((end) => signal.addEventListener("abort", end))]);
  tell("problem", "");
}

/** The same question once more, with the answers that were given to what triage asked. */
async function sendAgain(turn, body) {
  stop();
  const running = new AbortController();
  setRunning(running);
  tell("problem", "");
  for (const id of turn.forgotten ?? []) delete state.answers[id];
  turn.forgotten = [];
  for (const [id, { answer }] of turn.given) state.answers[id] = answer;
  try {
    const events = await ask(withAnswers(body), state.key, running.signal);
    if (running.signal.aborted) return;
    turn.reset();
    await follow(turn, events, running.signal);
  } catch (error) {
    if (running.signal.aborted) return turn.stop();
    tell("problem", sentence(error));
    if (!turn.ended) turn.breakOff("the connection to the server was lost; send the question again.");
    if (turn.broken && question.value === "") question.value = body.question;
    if (error.status === 401) askForKey();
  } finally {
    if (state.running === running) setRunning(null);
  }
}

function withAnswers(body) {
  return Object.keys(state.answers).length === 0 ? body : { ...body, answers: { ...state.answers } };
}

/** The server has taken the question: it moves from the box into the conversation. */
function begin(turn, text) {
  if (question.value.trim() === text) question.value = "";
  state.history.push(text);
  state.following = true;
  part("welcome").hidden = true;
  part("notes").open = false; // open, they cover half of a phone
  conversation.append(turn.root);
  scrollTo(turn);
}

async function follow(turn, events, signal) {
  for await (const event of events) {
    if (signal.aborted) return;
    turn.show(event);
    scrollTo(turn);
  }
  if (!turn.ended) throw new Error("the answer ended before its end");
}

/** A question that was not answered: it stands in the box again, and is no history. */
function giveBack(text) {
  state.history.pop();
  if (question.value === "") question.value = text;
}

/** Say in one sentence what went wrong and what to do; the text is not lost. */
function fail(turn, text, error) {
  if (turn.root.isConnected) {
    turn.breakOff("the connection to the server was lost; send the question again.");
    giveBack(text);
  }
  tell("problem", sentence(error));
  if (error.status === 401) askForKey();
  else question.focus();
}

function sentence(error) {
  const why = error.message ? ` (${error.message.replace(/[.\s]+$/, "")})` : "";
  switch (error.status) {
    case undefined:
      return "The server cannot be reached, or stopped answering: check that it still runs, then send again. Your text is still in the box.";
    case 400:
    case 413:
      return `The server refused this${why}: change the text or the notes, then send again.`;
    case 401:
      return "This server asks for a key, or the key was wrong: enter it above, then send again. Your text is still in the box.";
    case 429:
      return `Too many questions are waiting${why}: wait a moment, then send again. Your text is still in the box.`;
    default:
      return `The server failed with status ${error.status}${why}: send again, or look at its output.`;
  }
}

function setRunning(running) {
  state.running = running;
  const focused = document.activeElement;
  part("send").hidden = running !== null;
  part("stop").hidden = running === null;
  if (focused === part("send")) part("stop").focus();
  if (focused === part("stop")) question.focus();
}

function stop() {
  state.running?.abort();
}

/** Forget the conversation and the notes. Nothing was stored, so only memory is emptied. */
function clear() {
  stop();
  forgetFiles();
  setRunning(null);
  state.history = [];
  state.answers = {};
  conversation.replaceChildren();
  for (const field of [question, context, part("file")]) field.value = "";
  tell("problem", "");
  tell("file-said", "");
  part("said").textContent = "Cleared. Nothing of it is kept.";
  part("notes").open = false;
  part("welcome").hidden = false;
  sizeNotes();
  window.scrollTo(0, 0);
  question.focus();
}

/** Keep the newest words in view, but never scroll the question itself away. */
function scrollTo(turn) {
  if (!state.following) return;
  const top = turn.root.getBoundingClientRect().top + window.scrollY - part("conversation").offsetTop;
  const dock = document.querySelector(".dock").getBoundingClientRect().height;
  const end = turn.root.getBoundingClientRect().bottom + window.scrollY + dock - window.innerHeight;
  window.scrollTo(0, Math.max(0, Math.min(top, end)));
}

function sizeNotes() {
  const length = context.value.trim().length;
  part("notes-size").textContent = length === 0 ? "" : `(${length} characters go with each question)`;
}

function askForKey() {
  part("key-form").hidden = false;
  part("key").focus();
}

async function useKey(event) {
  event.preventDefault();
  state.key = part("key").value.trim();
  part("key").value = "";
  part("key-form").hidden = true;
  tell("problem", "");
  question.focus();
  await loadAbout();
}

async function loadAbout() {
  try {
    state.about = await fetchAbout(state.key);
  } catch (error) {
    if (error.status === 401) askForKey();
    if (error.status === 400) tell("sources", `The index cannot be used: ${error.message}`);
    return; // a question will say what is wrong
  }
  const { version, model, notice, attribution = [], index = {} } = state.about;
  if (notice) part("notice").textContent = `${notice} In an emergency call your emergency number.`;
  part("about").textContent = `Galenic ${version} · model ${model}`;
  tell("sources", sourcesOf(index));
  part("attribution").replaceChildren(...attribution.map((text) => make("li", {}, text)));
}

/** From what the answers come; an index that is missing or empty is said. */
function sourcesOf({ passages = 0, collections = [], handbook = 0 }) {
  const book = handbook > 0 ? `the built-in handbook (${handbook} topics, not reviewed by a clinician)` : "no handbook";
  if (passages > 0) {
    return `Answers come from ${book} and from what is indexed here: ${collections.join(", ")} (${passages.toLocaleString("en")} passages).`;
  }
  return `Answers come from ${book}. No documents are indexed on this machine; “galenic index FOLDER” adds leaflets of your own.`;
}

function tell(id, words) {
  part(id).textContent = words;
  part(id).hidden = words === "";
}

function useExample(event) {
  question.value = event.currentTarget.textContent;
  question.focus();
}

function onKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

/** Opened from another machine, the page does not say that it runs on this one. */
function sayWhere() {
  const { host, hostname } = window.location;
  if (THIS_MACHINE.includes(hostname)) return;
  part("private").textContent = `Private: runs on ${host}; nothing is sent on or stored`;
}

function start() {
  sayWhere();
  prepareDialogs();
  part("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  question.addEventListener("keydown", onKey);
  context.addEventListener("input", sizeNotes);
  prepareNotes(context, () => state.key, (words) => {
    part("notes").open = true;
    tell("file-said", words);
    sizeNotes();
  });
  window.addEventListener("beforeunload", (event) => {
    if (state.history.length > 0) event.preventDefault(); // the conversation is in this tab's memory alone
  });
  part("key-form").addEventListener("submit", useKey);
  part("stop").addEventListener("click", stop);
  part("clear").addEventListener("click", clear);
  for (const one of document.querySelectorAll("button.scores")) {
    one.addEventListener("click", () => openScores(state.about));
  }
  for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", useExample);
  for (const moved of ["wheel", "touchmove"]) {
    window.addEventListener(moved, () => (state.following = false), { passive: true });
  }
  loadAbout();
}

start();
