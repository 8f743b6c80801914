/** One conversation as this page has it open: its state, its connection, its draft, and what can be done with it. */

import { ApiError, api } from "../net/api.js";
import { Connection } from "../net/connection.js";
import { EMPTY, reduce, unfinishedAnswer } from "../core/reducer.js";
import { batch, signal } from "../vendor.js";
import { drafts } from "./drafts.js";
import { deliverPrompt } from "./delivery.js";

const STOP_TIMEOUT_MS = 8_000;

export class Conversation {
  state = signal(EMPTY);
  connection = signal("idle");
  /** What went wrong with the last prompt or stop, for people; null if nothing did. */
  problem = signal(null);
  /** What was found out about the session beside its events. */
  title = signal("");
  #connection = null;
  #named;
  #unsure = null;
  #stopWanted = new Set();
  /** Until the prompts so far are taken or refused: a later one must not overtake them. */
  #sending = Promise.resolve();
  #closed = false;
  #changed;

  /**
   * `sessionId` null: it is created with the first prompt. `changed(conversation, what, more)` hears of what the page
   * has to do with: created, named, refused (after `close`; `more` is the prompt's text and the problem), and events.
   */
  constructor(sessionId, changed) {
    this.sessionId = sessionId;
    this.#named = sessionId !== null;
    this.draft = signal(drafts.read(sessionId));
    this.#changed = changed;
    if (sessionId) this.#connect();
    else this.state.value = { ...EMPTY, ready: true };
  }

  /** The page shows another one. Prompts that are on their way still arrive. */
  close() {
    this.#closed = true;
    this.#connection?.close();
  }

  /** Nothing has been asked here yet. */
  get isNew() {
    return this.sessionId === null && !this.state.value.messages.length;
  }

  reconnect() {
    this.#connection?.retryNow();
  }

  write(text) {
    this.draft.value = text;
    drafts.write(this.sessionId, text);
  }

  /** Sends a prompt; a running answer is interrupted. If it cannot be sent, its text is back in the draft. */
  send(text) {
    const key = this.#unsure?.text === text ? this.#unsure.key : randomKey();
    this.#unsure = null;
    this.problem.value = null;
    this.#dispatch("local.sending", { key, text });
    const deliver = () => this.#deliver(text, key);
    this.#sending = this.#sending.then(deliver, deliver);
    return this.#sending;
  }

  async #deliver(text, key) {
    try {
      if (this.sessionId === null) await this.#create();
      const accepted = await deliverPrompt(this.sessionId, text, key);
      this.#dispatch("local.accepted", { key, ...accepted });
      if (!this.#named) {
        this.#named = true; // by the server, after its first prompt
        this.#changed(this, "named");
      }
      if (this.#stopWanted.delete(key)) await this.stop();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 0) this.#unsure = { text, key }; // it may have arrived: the same key finds it again
      this.#stopWanted.delete(key);
      this.#dispatch("local.refused", { key });
      const problem = `Not sent. ${error.message}`;
      if (this.#closed) this.#changed(this, "refused", { text, problem });
      else this.giveBack(text, problem);
    }
  }

  /** A prompt could not be sent: nothing of what was written is lost. */
  giveBack(text, problem) {
    this.write([text, this.draft.value].filter(Boolean).join("\n\n"));
    this.problem.value = problem;
  }

  /** Asks the prompt of this answer again. */
  async retry(answer) {
    const { messages } = this.state.value;
    const before = messages.slice(0, messages.indexOf(answer));
    const prompt = before.findLast((message) => message.role === "user");
    if (prompt) await this.send(prompt.text);
  }

  async stop() {
    const { messages } = this.state.value;
    const sending = messages.findLast((message) => message.role === "user" && message.state === "sending");
    if (sending) {
      this.#stopWanted.add(sending.key);
      return;
    }
    const answer = unfinishedAnswer(this.state.value);
    if (!answer) return;
    this.#dispatch("local.stopping", { message_id: answer.id });
    setTimeout(() => this.#giveUpStopping(answer.id), STOP_TIMEOUT_MS);
    try {
      await api.stop(this.sessionId, answer.stream_id);
    } catch (error) {
      this.#dispatch("local.stop_failed", { message_id: answer.id });
      this.problem.value = `Not stopped. ${error.message}`;
    }
  }

  #giveUpStopping(messageId) {
    const answer = this.state.value.messages.find((message) => message.id === messageId);
    if (answer?.state !== "stopping") return;
    this.#dispatch("local.stop_failed", { message_id: messageId });
    this.reconnect(); // its end may have been lost on the way
  }

  async #create() {
    const session = await api.createSession();
    this.sessionId = session.id;
    if (this.#closed) return; // what has been written since then is another chat's
    drafts.write(null, "");
    drafts.write(this.sessionId, this.draft.value);
    this.#changed(this, "created");
    this.#connect();
  }

  #connect() {
    this.#connection = new Connection({
      sessionId: this.sessionId,
      deliver: (events) => this.#take(events),
      report: (state) => (this.connection.value = state),
    });
    this.#connection.open();
  }

  #take(events) {
    batch(() => {
      for (const event of events) this.state.value = reduce(this.state.value, event);
    });
    for (const { type, data } of events) {
      if (type === "chat.session" && data.title) this.title.value = data.title;
      if (type === "chat.session" || type === "chat.prompt" || type === "chat.end" || type === "chat.error") {
        this.#changed(this, type);
      }
    }
  }

  #dispatch(type, data) {
    this.state.value = reduce(this.state.value, { type, data });
  }
}

function randomKey() {
  // randomUUID is missing on plain http
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
