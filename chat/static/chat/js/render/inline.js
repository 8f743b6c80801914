/** Inline markdown tokens → DOM nodes. */

import { decodeEntities } from "../core/entities.js";
import { allowedHref } from "../core/links.js";
import { element } from "./elements.js";

export function inline(tokens = []) {
  return tokens.flatMap((token) => (INLINE[token.type] ?? INLINE.text)(token));
}

const INLINE = {
  text: (token) => (token.tokens ? inline(token.tokens) : [decodeEntities(token.text ?? token.raw)]),
  escape: (token) => [token.text],
  html: (token) => [token.raw], // raw HTML is text, always
  strong: (token) => [element("strong", {}, ...inline(token.tokens))],
  em: (token) => [element("em", {}, ...inline(token.tokens))],
  del: (token) => [element("del", {}, ...inline(token.tokens))],
  codespan: (token) => [element("code", {}, token.text)],
  br: () => [element("br")],
  checkbox: (token) => [
    element("input", {
      type: "checkbox",
      disabled: true,
      checked: token.checked,
      "aria-label": token.checked ? "done" : "not done",
    }),
    " ",
  ],
  link: (token) => link(token, inline(token.tokens)),
  // Never loaded by itself: a model can be talked into telling things to whoever serves the picture.
  image: (token) => link(token, [`Image: ${decodeEntities(token.text || token.href)}`], "image-link"),
};

function link({ href, title, autolink }, children, className = null) {
  const allowed = allowedHref(autolink ? href : decodeEntities(href));
  if (allowed === null) return [element("span", { class: "no-link", title: "This link is not allowed" }, ...children)];
  return [
    element(
      "a",
      {
        href: allowed,
        class: className,
        title: title ? decodeEntities(title) : null,
        target: "_blank",
        rel: "noopener noreferrer nofollow",
      },
      ...children,
    ),
  ];
}
