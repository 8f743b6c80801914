/** Code → coloured spans, as DOM nodes: our own emitter in place of highlight.js's, which makes HTML text. */

import hljs from "../../vendor/highlight/core.js";
import { element } from "./elements.js";
import { isLoaded, loadLanguage } from "./languages.js";

const LONGEST = 50_000; // characters; beyond, colours cost more than they give

/** The interface of highlight.js's `TokenTreeEmitter`. */
class NodeEmitter {
  constructor() {
    this.root = document.createDocumentFragment();
    this.stack = [this.root];
  }

  get top() {
    return this.stack.at(-1);
  }

  addText(text) {
    const last = this.top.lastChild;
    if (last instanceof Text) last.appendData(text);
    else if (text !== "") this.top.append(text);
  }

  startScope(scope) {
    const span = element("span", { class: className(scope) });
    this.top.append(span);
    this.stack.push(span);
  }

  endScope() {
    if (this.stack.length > 1) this.stack.pop();
  }

  __addSublanguage(emitter, name) {
    this.top.append(name ? element("span", { class: `language-${name}` }, emitter.root) : emitter.root);
  }

  openNode(scope) {
    this.startScope(scope);
  }

  closeNode() {
    this.endScope();
  }

  finalize() {
    this.stack.length = 1;
  }

  toHTML() {
    return "";
  }
}

hljs.configure({ __emitter: NodeEmitter });

/** Fills a `<code data-language>`; in plain text if the language is unknown or while its grammar is on the way. */
export function fillCode(code, text) {
  const { language } = code.dataset;
  if (!language || text.length > LONGEST) {
    code.replaceChildren(text);
  } else if (isLoaded(language)) {
    code.replaceChildren(hljs.highlight(text, { language, ignoreIllegals: true })._emitter.root);
    code.dataset.coloured = "";
  } else {
    code.replaceChildren(text);
    loadLanguage(language).then(() => colourAll(language), () => {});
  }
}

/** What was shown plain until now. */
function colourAll(language) {
  for (const code of document.querySelectorAll(`code[data-language="${language}"]:not([data-coloured])`)) {
    fillCode(code, code.textContent);
  }
}

function className(scope) {
  const [first, ...rest] = scope.split(".");
  return [`hljs-${first}`, ...rest.map((part, at) => part + "_".repeat(at + 1))].join(" ");
}
