// A passage with the sentence that was cited marked in it.

import { make } from "./dom.js";

/** The text as nodes; where the sentence is found, whatever its white space, it is in a `mark`. */
export function marked(text, sentence) {
  const found = sentence ? find(text, sentence) : null;
  if (found === null) return [text];
  const [begin, end] = found;
  return [text.slice(0, begin), make("mark", {}, text.slice(begin, end)), text.slice(end)];
}

function find(text, sentence) {
  const words = sentence.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (words[0] === "") return null;
  const found = new RegExp(words.join("\\s+"), "i").exec(text);
  return found === null ? null : [found.index, found.index + found[0].length];
}
