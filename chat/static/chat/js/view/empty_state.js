/** What is shown where no messages are. */

import { html } from "../vendor.js";

const SUGGESTIONS = [
  ["Explain", "Explain how tides work, in five sentences."],
  ["Write", "Write a short poem about the sea at night."],
  ["Code", "Show me a Python function that finds prime numbers."],
  ["Plan", "Plan a quiet weekend in the mountains."],
];

export function emptyState(conversation) {
  return html`
    <section class="empty" aria-label="Start">
      <span class="mark large" aria-hidden="true"></span>
      <h2>What can I do for you?</h2>
      <div class="suggestions">
        ${SUGGESTIONS.map(
          ([label, text]) => html`
            <button type="button" class="suggestion" onClick=${() => ask(conversation, text)}>
              <strong>${label}</strong><span>${text}</span>
            </button>
          `,
        )}
      </div>
    </section>
  `;
}

/** The second click of a double click comes before the page has changed. */
function ask(conversation, text) {
  if (!conversation.state.value.messages.length) conversation.send(text);
}

const UNAVAILABLE = {
  deleted: ["This chat was deleted.", "It is gone in every tab and on every device."],
  gone: ["There is no such chat.", "It may have been deleted, or it belongs to somebody else."],
  signed_out: ["You are logged out.", "Log in to see your chats."],
};

/** Why nothing more is to be seen or heard of a conversation, for `unavailable`; null if there is. */
export function whyUnavailable({ state, connection }) {
  if (state.value.deleted) return "deleted";
  return connection.value in UNAVAILABLE ? connection.value : null;
}

export function unavailable(why) {
  const [title, text] = UNAVAILABLE[why];
  return html`
    <section class="empty" aria-label=${title}>
      <h2>${title}</h2>
      <p>${text}</p>
      ${why === "signed_out" && html`<a class="button" href="/login/?next=${location.pathname}">Log in</a>`}
    </section>
  `;
}
