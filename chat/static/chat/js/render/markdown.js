/** Block markdown tokens → DOM nodes: at most one node a top-level token. */

import { codeBlock } from "./code_block.js";
import { element } from "./elements.js";
import { inline } from "./inline.js";

/** Nodes for a text's top-level tokens; what is nested too deep to be shown as such is shown as text. */
export function blocks(tokens) {
  return tokens.flatMap((token) => {
    try {
      return token.type in BLOCKS && token.type !== "text" ? block(token) : [BLOCKS.paragraph({ tokens: [token] })];
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return [BLOCKS.html(token)];
    }
  });
}

function block(token) {
  const make = BLOCKS[token.type];
  return make ? [make(token)].flat() : inline([token]);
}

const children = (tokens = []) => tokens.flatMap(block);

const BLOCKS = {
  space: () => [],
  def: () => [],
  paragraph: (token) => element("p", {}, ...inline(token.tokens)),
  text: (token) => inline(token.tokens ?? [token]),
  html: (token) => element("p", { class: "raw" }, token.raw.replace(/\n+$/, "")),
  // The page's own headings come first: h1 is the chat, h2 who speaks.
  heading: (token) => element(`h${Math.min(token.depth + 2, 6)}`, {}, ...inline(token.tokens)),
  hr: () => element("hr"),
  blockquote: (token) => element("blockquote", {}, ...children(token.tokens)),
  code: (token) => codeBlock(token.text, token.lang),
  list: (token) =>
    element(
      token.ordered ? "ol" : "ul",
      { start: token.ordered && token.start !== 1 ? token.start : null, class: token.loose ? "loose" : null },
      ...token.items.map((item) => element("li", { class: item.task ? "task" : null }, ...children(item.tokens))),
    ),
  table: (token) =>
    element(
      "div",
      { class: "table", tabindex: 0, role: "region", "aria-label": "Table" },
      element(
        "table",
        {},
        element("thead", {}, row("th", token.header)),
        element("tbody", {}, ...token.rows.map((cells) => row("td", cells))),
      ),
    ),
};

function row(name, cells) {
  return element(
    "tr",
    {},
    ...cells.map((cell) =>
      element(name, { class: cell.align ? `align-${cell.align}` : null }, ...inline(cell.tokens)),
    ),
  );
}
