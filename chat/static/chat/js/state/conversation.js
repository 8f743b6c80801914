/** One conversation as this page has it open: its state, its connection, its draft, and what can be done with it. */

import { ApiError, api } from "../net/api.js";
import { Connection } from "../net/connection.js";
import { EMPTY, reduce, unfinishedAnswer } from "../core/reducer.js";
import { batch, signal } from "../vendor.js";
import { deliver } from "./delivery.js";
import { drafts, givenBack } from "./drafts.js";
import { outbox } from "./outbox.js";

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
  /** Of prompts that are on their way: what to do when the log tells of them. By their keys. */
  #underWay = new Map();
  #closed = false;
  #user;
  #changed;

  /**
   * `sessionId` null: it is created with the first prompt. `changed(conversation, what, more)` hears of what the page
   * has to do with: created, named, refused (after `close`; `more` is the prompt's text and the problem), and events.
   */
  constructor(sessionId, user, changed) {
    this.sessionId = sessionId;
    this.#user = user;
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

  /** The page shows this one again. */
  reopen() {
    this.#closed = false;
    this.draft.value = drafts.read(this.sessionId);
    if (this.sessionId) this.#connect();
  }

  get isSending() {
    return this.#underWay.size > 0;
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

  /**
   * Sends a prompt; a running answer is interrupted. If it cannot be sent, its text is back in the draft. With the
   * `key` of a prompt that may have been sent already, it is asked once.
   */
  send(text, key = this.#unsure?.text === text ? this.#unsure.key : randomKey()) {
    this.#unsure = null;
    this.problem.value = null;
    this.#dispatch("local.sending", { key, text });
    outbox.add({ user: this.#user, sessionId: this.sessionId, key, text });
    const arrived = new Promise((resolve) => this.#underWay.set(key, resolve));
    const post = () => Promise.race([this.#post(text, key), arrived]);
    this.#sending = this.#sending.then(post, post);
    return this.#sending;
  }

  async #post(text, key) {
    try {
      if (this.sessionId === null) await this.#create();
      const call = () => api.sendPrompt(this.sessionId, text, key);
      const accepted = await deliver(call, (error) => error.mayPass, () => this.#hasArrived(key));
      this.#dispatch("local.accepted", { key, ...accepted });
      this.#settle(key);
      if (this.#stopWanted.delete(key)) this.#stopAnswer({ ...accepted, id: accepted.message_id });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 0 && this.#hasArrived(key)) return this.#settle(key); // only the answer to the POST was lost
      if (error.status === 0) this.#unsure = { text, key }; // it may have arrived: the same key finds it again
      this.#stopWanted.delete(key);
      this.#dispatch("local.refused", { key });
      this.#settle(key);
      const problem = `Not sent. ${error.message}`;
      if (this.#closed) this.#changed(this, "refused", { text, problem });
      else this.giveBack(text, problem);
    }
  }

  /** Whether the log has told of this prompt. */
  #hasArrived(key) {
    return this.state.value.messages.some((message) => message.key === key && message.id !== key);
  }

  #answerTo(key) {
    const { messages } = this.state.value;
    const prompt = messages.find((message) => message.key === key);
    return messages.find((message) => message.role === "assistant" && message.stream_id === prompt.stream_id);
  }

  /** The prompt is on its way no more. */
  #settle(key) {
    this.#underWay.get(key)?.();
    this.#underWay.delete(key);
    outbox.remove(key);
    if (!this.#named && this.state.value.messages.length) {
      this.#named = true; // by the server, after its first prompt
      this.#changed(this, "named");
    }
  }

  /** A prompt could not be sent: nothing of what was written is lost. */
  giveBack(text, problem) {
    this.write(givenBack(text, this.draft.value));
    this.problem.value = problem;
  }

  /** Asks the prompt of this answer again. */
  async retry(answer) {
    const { messages } = this.state.value;
    const before = messages.slice(0, messages.indexOf(answer));
    const prompt = before.findLast((message) => message.role === "user");
    const again = messages.some((message) => message.role === "user" && message.state === "sending");
    if (prompt && !again) await this.send(prompt.text); // else it is a double click's second one
  }

  /** Stops the answer that is being written, and those that prompts on their way will get. */
  async stop() {
    for (const message of this.state.value.messages) {
      if (message.role === "user" && message.state === "sending") this.#stopWanted.add(message.key);
    }
    const answer = unfinishedAnswer(this.state.value);
    if (answer) await this.#stopAnswer(answer);
  }

  async #stopAnswer(answer) {
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
    // One that may have been made already is not made again: the chat would stay empty.
    const session = await deliver(() => api.createSession(), (error) => error.mayPass && error.status !== 0);
    this.sessionId = session.id;
    outbox.created(session.id, new Set(this.#underWay.keys()));
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
    for (const [key, arrived] of this.#underWay) {
      if (!this.#hasArrived(key)) continue;
      arrived(); // those behind it need not wait for the answer to its POST
      const answer = this.#answerTo(key);
      if (answer && this.#stopWanted.delete(key)) this.#stopAnswer(answer);
    }
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
