/** The messages of a conversation, and where the reader is in them. */

import { Component, createRef, html } from "../vendor.js";
import { copyCode, copyText } from "./copy.js";
import { emptyState, unavailable, whyUnavailable } from "./empty_state.js";
import { icon } from "./icons.js";
import { Message } from "./message.js";
import { Scroller } from "./scroller.js";

export class Transcript extends Component {
  outer = createRef();
  inner = createRef();

  componentDidMount() {
    this.scroller = new Scroller(this.outer.current, this.inner.current, (pinned) => this.setState({ pinned }));
  }

  componentDidUpdate(before) {
    const { messages } = this.props.state;
    const sent = messages.findLast((message) => message.state === "sending" && message.role === "user");
    const sentBefore = before.state.messages.find((message) => message.key === sent?.key);
    if (sent && !sentBefore) this.scroller.pin();
  }

  componentWillUnmount() {
    this.scroller.dispose();
  }

  render({ conversation, state }, { pinned = true }) {
    return html`
      <main class="transcript-frame">
        <div
          class="transcript"
          ref=${this.outer}
          tabindex="0"
          role="region"
          aria-label="Conversation"
          onClick=${onClick}
        >
          <div class="messages" ref=${this.inner}>${content(conversation, state)}</div>
        </div>
        <button
          type="button"
          class="jump"
          aria-label="Jump to the newest message"
          hidden=${pinned || !state.messages.length}
          onClick=${() => this.scroller.pin()}
        >
          ${icon("down")}
        </button>
      </main>
    `;
  }
}

function content(conversation, state) {
  const why = whyUnavailable(conversation);
  if (why) return unavailable(why);
  const loading = !state.ready && html`<p class="hint loading">Loading…</p>`;
  if (!state.messages.length) return loading || emptyState(conversation);
  const last = state.messages.at(-1);
  const messages = state.messages.map(
    (message) => html`
      <${Message}
        key=${message.key ?? message.id}
        message=${message}
        isLast=${message === last}
        retry=${() => conversation.retry(message)}
        copy=${copyText}
      />
    `,
  );
  return [loading, ...messages];
}

function onClick(event) {
  const button = event.target.closest("[data-action='copy-code']");
  if (button) copyCode(button);
}
