/**
 * Markdown text → top-level blocks, while it grows. Pure.
 *
 * All blocks but the last are final: nothing that is still to come can change them (late reference definitions
 * excepted; the end takes care of those). Whether a block is final is decided on whole lines only: of `1. a⏎⏎2` one
 * does not know yet whether the `2` goes on with the list.
 */

import { Lexer } from "../vendor.js";

const OPTIONS = { gfm: true, breaks: true };
const LONGEST_WORD = /\S{8000}/; // the lexer looks for addresses in quadratic time: 50,000 letters cost 5 s

/** The tokens of a whole text. What the lexer cannot take (nested too deep, endless words) comes back as plain text. */
export function lex(text) {
  if (LONGEST_WORD.test(text)) return [plain(text)];
  try {
    return new Lexer(OPTIONS).lex(text);
  } catch {
    return [plain(text)];
  }
}

/** How many characters of `text`, from `from` on, belong to final blocks; `text` must have LF line ends only. */
export function finalLength(text, from) {
  const lines = text.slice(from, text.lastIndexOf("\n") + 1);
  const tokens = lex(lines);
  const last = tokens.findLastIndex((token) => token.type !== "space");
  return tokens.slice(0, Math.max(last, 0)).reduce((sum, token) => sum + token.raw.length, 0);
}

export function withLineFeeds(text) {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

function plain(text) {
  return { type: "html", raw: text, text };
}
