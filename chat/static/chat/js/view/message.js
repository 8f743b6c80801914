/** One message: who speaks, the text, and how it ended. */

import { Component, html } from "../vendor.js";
import { isEnded } from "../core/message_state.js";
import { icon } from "./icons.js";
import { MessageBody } from "./message_body.js";
import { endNote, waitingNote } from "./message_notes.js";

export class Message extends Component {
  shouldComponentUpdate(next) {
    return next.message !== this.props.message || next.isLast !== this.props.isLast;
  }

  render({ message, isLast, retry, copy }) {
    return message.role === "user" ? prompt(message) : answer(message, isLast, retry, copy);
  }
}

function prompt(message) {
  return html`
    <article class="message user ${message.state}" data-state=${message.state}>
      <h2 class="only-spoken">You</h2>
      <div class="bubble" dir="auto">${message.text}</div>
      ${message.state === "sending" && html`<p class="note">Sending…</p>`}
    </article>
  `;
}

function answer(message, isLast, retry, copy) {
  const ended = isEnded(message.state);
  const failure = message.state === "failed";
  const note = ended ? endNote(message) : waitingNote(message);
  return html`
    <article
      class="message assistant ${message.state} ${ended && !isLast ? "settled" : ""}"
      data-state=${message.state}
      aria-busy=${!ended}
    >
      <h2 class="only-spoken">Jarvis</h2>
      ${message.text && html`<${MessageBody} text=${message.text} settled=${ended} />`}
      ${note && html`<p class=${failure ? "note error" : "note"}>${failure && icon("warning")}<span>${note.text}</span></p>`}
      ${ended &&
      html`
        <div class="message-actions">
          ${note?.retry &&
          isLast &&
          html`<button type="button" class="quiet retry" onClick=${retry}>${icon("retry")}Retry</button>`}
          ${message.text &&
          html`
            <button type="button" class="quiet" aria-label="Copy answer" onClick=${(event) => copy(event, message.text)}>
              ${icon("copy")}<span class="when-idle">Copy</span><span class="when-copied">Copied</span>
            </button>
          `}
        </div>
      `}
    </article>
  `;
}
