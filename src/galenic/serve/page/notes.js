// Files as notes: read into the box, in memory only, and never sent further than to the server.

import { readNotes } from "./stream.js";

const LARGEST = 5_000_000; // bytes of a file
const MOST = 120_000; // characters in the box; a request may have 256 KiB
const reading = { files: 0, last: Promise.resolve(), cleared: 0 };

/** Settles when every file that was chosen is in the box or refused; null when none is being read. */
export function filesRead() {
  return reading.files > 0 ? reading.last : null;
}

/** Files that are still being read will not come into the box. */
export function forgetFiles() {
  reading.cleared += 1;
}

/** Let files be chosen or dropped anywhere on the page.
 * @param box the text area of the notes. @param key gives the server's key. @param done is called with what to say. */
export function prepareNotes(box, key, done) {
  const input = document.getElementById("file");
  const sheet = document.getElementById("drop");
  const take = (chosen) => {
    const files = [...chosen];
    const cleared = reading.cleared;
    reading.files += files.length;
    done(`Reading ${files.map((file) => file.name).join(", ")} …`);
    reading.last = reading.last.then(async () => {
      const said = await addFiles(box, files, key(), () => reading.cleared === cleared);
      reading.files -= files.length;
      if (reading.cleared === cleared) done(said);
    });
    return reading.last;
  };
  input.addEventListener("change", async () => {
    await take(input.files);
    input.value = "";
  });
  const show = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // or the browser would open the file in place of the page
    sheet.hidden = false;
  };
  window.addEventListener("dragenter", show);
  window.addEventListener("dragover", show);
  window.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) sheet.hidden = true;
  });
  window.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    sheet.hidden = true;
    take(event.dataTransfer.files);
  });
}

async function addFiles(box, files, key, wanted) {
  const said = [];
  for (const file of files) said.push(await addFile(box, file, key, wanted));
  return said.join(" ");
}

/** Add one file to the box, if it is still wanted when it has been read; what to say of it. */
async function addFile(box, file, key, wanted) {
  if (file.size > LARGEST) return `${file.name} is too large: at most ${LARGEST / 1e6} MB are read.`;
  const record = file.name.toLowerCase().endsWith(".json");
  try {
    const { text, notes } = record ? { text: await file.text(), notes: [] } : await readNotes(file, key);
    if (!wanted()) return "";
    const there = box.value.trim(); // only now: something may have been typed meanwhile
    if (there !== "" && (record || there.startsWith("{"))) return `${file.name} was not added: a record must be alone in the box.`;
    const whole = there === "" ? text : `${there}\n\n${text}`;
    if (whole.length > MOST) return `${file.name} was not added: the box takes ${MOST / 1000} thousand characters.`;
    box.value = whole;
    const left = notes.length === 0 ? "" : ` (${notes.join("; ")})`;
    return `${file.name} is in the box above${left}; change it as you like.`;
  } catch (error) {
    return error.message ? `${error.message.replace(/[.\s]+$/, "")}.` : `${file.name} could not be read.`;
  }
}
