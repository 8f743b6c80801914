/**
 * Events → the state of one conversation. Pure: no DOM, no clock, no network; the page is a function of the result.
 *
 * An event is `{type, data, seq?}`. `seq` is the event's position in the session; one that was seen already is
 * ignored, and so is a type that is not known. Events whose type starts with `local.` are the page's own.
 */

import { endState, isEnded, mayFollow } from "./message_state.js";
import { LOCAL_EVENTS, confirmedUntil, placeLocal, replaceLocal, stillLocal } from "./local_events.js";
import { changeMessage, findMessage } from "./messages.js";

export const EMPTY = Object.freeze({ seq: null, ready: false, messages: [], title: null, deleted: false });

/** The state after this event. The same object if the event changes nothing. */
export function reduce(state, event) {
  if (event.type !== "snapshot" && event.seq != null) {
    if (state.seq !== null && event.seq <= state.seq) return state;
    state = { ...state, seq: event.seq };
  }
  const handler = EVENTS[event.type] ?? LOCAL_EVENTS[event.type];
  return handler ? handler(state, event.data, event.seq ?? null) : state;
}

export function fold(events, state = EMPTY) {
  return events.reduce(reduce, state);
}

/** The answer that Stop would stop: the one being written, else the first that waits; null if all have ended. */
export function unfinishedAnswer(state) {
  const open = state.messages.filter((message) => message.role === "assistant" && !isEnded(message.state));
  return open.find((message) => message.state !== "queued") ?? open[0] ?? null;
}

const EVENTS = {
  snapshot(state, data, seq) {
    const messages = data.messages.map((message) => keepPageOnly(state, message));
    return {
      ...state,
      seq: seq ?? state.seq,
      ready: true,
      messages: [...messages, ...stillLocal(state, messages, seq)],
    };
  },

  "chat.status"(state, { stream_id, message_id, status, position }) {
    state = withAnswer(placeLocal(state, stream_id), stream_id, message_id, status);
    return changeMessage(state, message_id, (message) =>
      mayFollow(message.state, status) || message.state === status
        ? { ...message, state: status, stream_id, position: status === "queued" ? position : undefined, local: false }
        : message,
    );
  },

  /** The status of a stream may come before its prompt: the prompt still stands above its answer. */
  "chat.prompt"(state, { stream_id, message_id, text }) {
    const { rest, key } = replaceLocal(state, message_id, text);
    const prompt = { id: message_id, key, role: "user", text, state: "completed", stream_id };
    const answerAt = rest.findIndex((message) => message.role === "assistant" && message.stream_id === stream_id);
    const at = answerAt === -1 ? confirmedUntil(rest) : answerAt;
    return { ...state, messages: rest.toSpliced(at, 0, prompt) };
  },

  "chat.token"(state, { stream_id, message_id, text }) {
    state = withAnswer(state, stream_id, message_id, "streaming");
    return changeMessage(state, message_id, (message) => {
      if (isEnded(message.state)) return message;
      const next = mayFollow(message.state, "streaming") ? "streaming" : message.state;
      return { ...message, text: message.text + text, state: next, local: false };
    });
  },

  "chat.end"(state, { message_id, reason, usage, tokens, duration_seconds, first_token_seconds }) {
    const numbers = { usage, tokens, duration_seconds, first_token_seconds };
    return end(state, message_id, { state: endState(reason), reason, numbers });
  },

  "chat.error"(state, { message_id, code, message, retryable }) {
    return end(state, message_id, { state: "failed", reason: code, error: { message, retryable } });
  },

  "chat.removed"(state, { message_ids }) {
    const removed = new Set(message_ids);
    return { ...state, messages: state.messages.filter((message) => !removed.has(message.id)) };
  },

  "chat.session"(state, { title, deleted }) {
    return { ...state, title: title ?? state.title, deleted: deleted ?? state.deleted };
  },
};

function withAnswer(state, streamId, messageId, status) {
  if (findMessage(state, messageId)) return state;
  const answer = { id: messageId, role: "assistant", text: "", state: status, stream_id: streamId };
  return { ...state, messages: state.messages.toSpliced(confirmedUntil(state.messages), 0, answer) };
}

function end(state, messageId, change) {
  return changeMessage(state, messageId, (message) =>
    isEnded(message.state) ? message : { ...message, ...change, position: undefined, local: false },
  );
}

/** What a snapshot cannot know: that this page has asked to stop, the sentence of an error, the key of the element. */
function keepPageOnly(state, message) {
  const before = findMessage(state, message.id);
  if (!before) return message;
  const stopping = before.state === "stopping" && !isEnded(message.state);
  return {
    ...message,
    key: before.key,
    error: before.error,
    numbers: before.numbers,
    state: stopping ? "stopping" : message.state,
  };
}
