/**
 * A message's markdown while it grows. Paints once per animation frame at most, and takes at most about a quarter of
 * the time; final blocks are never touched again, the last one is changed in place. `settle` ends with exactly what
 * one rendering of the whole text would give.
 */

import { finalLength, lex, withLineFeeds } from "../core/blocks.js";
import { onNextFrame } from "./frame.js";
import { blocks } from "./markdown.js";
import { morph } from "./morph.js";

const REST_PER_WORK = 3; // milliseconds of rest for each of painting

export class LiveMarkdown {
  #element;
  #text = "";
  #finalChars = 0;
  #finalNodes = 0;
  #lineEnd = 0;
  #cancelTick = null;
  #notBefore = 0;

  constructor(element) {
    this.#element = element;
  }

  /** Shows `text`, soon. */
  update(text) {
    this.#take(text);
    this.#cancelTick ??= onNextFrame(() => this.#tick());
  }

  /** Shows the whole `text`, now and for good. How many nodes had to be changed, not counting what only grew. */
  settle(text) {
    this.dispose();
    this.#take(text);
    return morph(this.#element, 0, blocks(lex(this.#text)));
  }

  dispose() {
    this.#cancelTick?.();
    this.#cancelTick = null;
  }

  #take(text) {
    const normal = withLineFeeds(text);
    if (!normal.startsWith(this.#text.slice(0, this.#lineEnd))) {
      this.#finalChars = this.#finalNodes = this.#lineEnd = 0; // another text: start again
    }
    this.#text = normal;
  }

  #tick() {
    this.#cancelTick = null;
    const start = performance.now();
    if (start < this.#notBefore) {
      this.#cancelTick = onNextFrame(() => this.#tick());
      return;
    }
    this.paint();
    const end = performance.now();
    this.#notBefore = end + (end - start) * REST_PER_WORK;
  }

  paint() {
    let fixed = [];
    const lineEnd = this.#text.lastIndexOf("\n") + 1;
    if (lineEnd > this.#lineEnd) {
      this.#lineEnd = lineEnd;
      const end = this.#finalChars + finalLength(this.#text, this.#finalChars);
      fixed = blocks(lex(this.#text.slice(this.#finalChars, end)));
      this.#finalChars = end;
    }
    morph(this.#element, this.#finalNodes, [...fixed, ...blocks(lex(this.#text.slice(this.#finalChars)))]);
    this.#finalNodes += fixed.length;
  }
}
