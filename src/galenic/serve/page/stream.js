// The assistant's HTTP interface: what is asked, and answers as server-sent events.

/** The server did not take a request: `status` and its words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** What is served: versions, scores, attribution. */
export async function fetchAbout(key) {
  const response = await request("/v1/about", { headers: headers(key) });
  return response.json();
}

/** Ask; the answer's events come from the iterator that this resolves to. */
export async function ask(body, key, signal) {
  const response = await request("/v1/ask", {
    method: "POST",
    headers: { ...headers(key), "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify(body),
    signal,
  });
  return readEvents(response.body);
}

/** The text of a file, read on the server in memory. */
export async function readNotes(file, key) {
  const path = `/v1/notes?name=${encodeURIComponent(file.name)}`;
  const response = await request(path, { method: "POST", headers: headers(key), body: file });
  return response.json();
}

/** Events of a stream of bytes as `{name, data}`, wherever the chunks are cut. */
export async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return; // what has no blank line behind it was cut, and is no event
    const text = rest + value;
    const held = text.endsWith("\r") ? 1 : 0; // its \n may stand in the next chunk
    const blocks = lines(text.slice(0, text.length - held)).split("\n\n");
    rest = blocks.pop() + text.slice(text.length - held);
    for (const block of blocks) {
      const event = parse(block);
      if (event !== null) yield event;
    }
  }
}

function lines(text) {
  return text.replaceAll("\r\n", "\n").replaceAll("\r", "\n");
}

function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line); // a comment has no field
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return data.length === 0 ? null : { name, data: JSON.parse(data.join("\n")) };
}

function headers(key) {
  return key === "" ? {} : { Authorization: `Bearer ${key}` };
}

async function request(path, options) {
  const response = await fetch(path, { credentials: "omit", cache: "no-store", ...options });
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response;
}

async function reason(response) {
  try {
    return String((await response.json()).error.message);
  } catch {
    return "";
  }
}
