/**
 * Server-sent events, decoded as WHATWG HTML says, in any chunks. Pure.
 *
 * `feed(text)` gives the frames that are complete: `{type, data, id}`; `id` is null where the frame had none.
 */
export class SseDecoder {
  #rest = "";
  #afterCr = false;
  #type = "";
  #data = [];
  #id = null;

  feed(text) {
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
    if (text === "") return [];
    this.#afterCr = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    const frames = [];
    for (const line of lines) {
      if (line === "") this.#dispatch(frames);
      else this.#field(line);
    }
    return frames;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch(frames) {
    if (this.#data.length) frames.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#id });
    this.#type = "";
    this.#data = [];
    this.#id = null;
  }
}
