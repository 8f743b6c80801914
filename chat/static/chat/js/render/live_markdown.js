/**
 * A message's markdown while it grows. Paints once per animation frame at most, and takes at most about a quarter of
 * the time; final blocks are never touched again, the last one is changed in place. `settle` ends with exactly what
 * one rendering of the whole text would give.
 */

import { finalLength, lex, withLineFeeds } from "../core/blocks.js";
import { blocks } from "./markdown.js";
import { morph } from "./morph.js";

const REST_PER_WORK = 3; // milliseconds of rest for each of painting

export class LiveMarkdown {
  #element;
  #text = "";
  #finalChars = 0;
  #finalNodes = 0;
  #lineEnd = 0;
  #frame = 0;
  #notBefore = 0;

  constructor(element) {
    this.#element = element;
  }

  /** Shows `text`, soon. */
  update(text) {
    this.#take(text);
    this.#frame ||= requestAnimationFrame((now) => this.#tick(now));
  }

  /** Shows the whole `text`, now and for good. How many nodes had to be changed, not counting what only grew. */
  settle(text) {
    this.dispose();
    this.#take(text);
    return morph(this.#element, 0, blocks(lex(this.#text)));
  }

  dispose() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  #take(text) {
    const normal = withLineFeeds(text);
    if (!normal.startsWith(this.#text.slice(0, this.#lineEnd))) {
      this.#finalChars = this.#finalNodes = this.#lineEnd = 0; // another text: start again
    }
    this.#text = normal;
  }

  #tick(now) {
    this.#frame = 0;
    if (now < this.#notBefore) {
      this.#frame = requestAnimationFrame((next) => this.#tick(next));
      return;
    }
    this.paint();
    const end = performance.now();
    this.#notBefore = end + (end - now) * REST_PER_WORK;
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
