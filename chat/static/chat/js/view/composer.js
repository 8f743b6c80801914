/** Where prompts are typed: it grows with them, and keeps them until they have arrived. */

import { Component, createRef, html } from "../vendor.js";
import { whyUnavailable } from "./empty_state.js";
import { icon, stopIcon } from "./icons.js";

const GROWS_BY_ITSELF = CSS.supports("field-sizing", "content");

export class Composer extends Component {
  area = createRef();

  componentDidMount() {
    if (matchMedia("(pointer: fine)").matches) this.area.current.focus();
    this.fit();
  }

  componentDidUpdate(before) {
    if (before.draft !== this.props.draft) this.fit();
    const other = before.conversation !== this.props.conversation;
    if (other && matchMedia("(pointer: fine)").matches) this.area.current.focus();
  }

  fit() {
    if (GROWS_BY_ITSELF) return;
    const { style } = this.area.current;
    style.height = "auto";
    style.height = `${this.area.current.scrollHeight}px`;
  }

  submit = (event) => {
    event?.preventDefault();
    const { conversation } = this.props;
    const text = conversation.draft.value.trim();
    if (!text || this.isClosed()) return;
    conversation.write("");
    conversation.send(text);
  };

  keys = (event) => {
    // 229: Safari ends a composition before the key that ended it
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    this.submit(event);
  };

  isClosed() {
    return whyUnavailable(this.props.conversation) !== null;
  }

  render({ conversation, draft, problem, answering, state }) {
    const sending = !this.isClosed() && state.messages.some((message) => message.state === "sending");
    const busy = answering !== null || sending;
    return html`
      <form class="composer" aria-label="Your message" onSubmit=${this.submit}>
        ${problem &&
        html`<p class="problem" role="alert">
          ${icon("warning")}<span>${problem}</span>
          <button type="button" class="quiet" onClick=${() => (conversation.problem.value = null)}>Dismiss</button>
        </p>`}
        <div class="composer-box">
          <textarea
            ref=${this.area}
            rows="1"
            dir="auto"
            aria-label="Message Jarvis"
            placeholder=${busy ? "Ask something else…" : "Message Jarvis"}
            enterkeyhint="send"
            disabled=${this.isClosed()}
            value=${draft}
            onInput=${(event) => conversation.write(event.currentTarget.value)}
            onKeyDown=${this.keys}
          ></textarea>
          <div class="composer-buttons">
            ${busy &&
            html`<button
              type="button"
              class="round stop"
              aria-label="Stop"
              title="Stop"
              disabled=${answering?.state === "stopping"}
              onClick=${() => conversation.stop()}
            >
              ${stopIcon()}
            </button>`}
            <button
              type="submit"
              class="round send"
              aria-label="Send"
              title="Send"
              disabled=${!draft.trim() || this.isClosed()}
            >
              ${icon("send")}
            </button>
          </div>
        </div>
        <p class="composer-hint">Enter sends, Shift + Enter breaks the line. Answers can be wrong: check what matters.</p>
      </form>
    `;
  }
}
