/** The only place that knows where the parts of others are (`vendor/vendor.json` says which). */

import htm from "../vendor/htm/htm.js";
import { h } from "../vendor/preact/preact.js";

export { Component, createRef, render } from "../vendor/preact/preact.js";
export { batch, computed, effect, signal } from "../vendor/signals-core/signals-core.js";
export { Lexer } from "../vendor/marked/marked.js";

export const html = htm.bind(h);
