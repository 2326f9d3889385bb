// Small helpers. Text comes in only as text: passages and answers may hold anything.

const SVG = "http://www.w3.org/2000/svg";

/** An element with a class, attributes and children; strings become text, empty children are left out. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A button that does something. */
export function button(label, does, attributes = {}) {
  const made = make("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", () => does(made));
  return made;
}

/** One of the page's icons; it says nothing that the words beside it do not say. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  drawing.append(use);
  return drawing;
}

/** A link to a web page; an address of any other kind stays text. */
export function link(name, address) {
  const words = String(name || address || "");
  if (!isWeb(address)) return make("span", {}, words);
  return make("a", { href: address, target: "_blank", rel: "noreferrer noopener" }, words);
}

function isWeb(address) {
  try {
    return ["http:", "https:"].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}

/** A line of a list of facts; nothing where there is no value. */
export function fact(name, value) {
  if (!value) return [];
  return [make("dt", {}, name), make("dd", {}, value)];
}
