/** A block of code: what language it is, a button that copies it, the code in colours. */

import { element } from "./elements.js";
import { fillCode } from "./highlight.js";
import { languageOf } from "./languages.js";

export function codeBlock(text, info = "") {
  const label = (info || "").trim().split(/[\s,{]/)[0];
  const code = element("code", { "data-language": languageOf(label) });
  fillCode(code, text);
  return element(
    "figure",
    { class: "code" },
    element(
      "figcaption",
      {},
      element("span", { class: "language" }, label || "text"),
      element(
        "button",
        { type: "button", class: "copy", "data-action": "copy-code", "aria-label": "Copy code" },
        element("span", { class: "when-idle" }, "Copy"),
        element("span", { class: "when-copied" }, "Copied"),
      ),
    ),
    element("pre", { tabindex: 0, "aria-label": label ? `${label} code` : "Code", role: "region" }, code),
  );
}
