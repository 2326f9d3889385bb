// An answer as plain text, for a doctor or a message.

import { button } from "./dom.js";

const PARTS = [
  ".asked", ".crisis p", ".crisis li", ".tier h2", ".tier .do", ".tier .why li", ".answered li", ".note", ".part h3", ".part li", ".passages li", ".tier .small",
].join(", ");

/** The button that copies a turn; it says whether that worked. */
export function copyButton(root) {
  const label = "Copy answer";
  return button(label, async (pressed) => {
    pressed.textContent = (await copy(textOf(root))) ? "Copied" : "This browser does not allow copying";
    setTimeout(() => (pressed.textContent = label), 3000);
  }, { class: "quiet copy", "aria-live": "polite" });
}

/** The words of a turn, a line each. */
export function textOf(root) {
  const lines = [...root.querySelectorAll(PARTS)].map((one) => {
    const words = one.textContent.replace(/\s+/g, " ").trim();
    return one.tagName === "LI" ? `- ${words}` : `${one.tagName.startsWith("H") ? "\n" : ""}${words}`;
  });
  return lines.join("\n");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
