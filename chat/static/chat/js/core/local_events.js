/**
 * What the page itself knows before the server has said it: a prompt on its way, a stop that was asked for. Pure.
 *
 * Such a message is marked `local` until the server's events or a snapshot confirm it, so that nothing is shown twice
 * and nothing that was typed disappears, in whatever order the answer to the POST and the events arrive.
 */

import { mayFollow } from "./message_state.js";
import { changeMessage, findMessage } from "./messages.js";

export const LOCAL_EVENTS = {
  "local.sending"(state, { key, text }) {
    const prompt = { id: key, key, role: "user", text, state: "sending", local: true };
    return { ...state, messages: [...state.messages, prompt] };
  },

  /** The server took the prompt. `seq` is the head of the log before the stream's first event. */
  "local.accepted"(state, { key, prompt_id, message_id, stream_id, seq }) {
    let { messages } = state;
    if (findMessage(state, prompt_id)) {
      messages = messages.filter((message) => message.id !== key);
    } else {
      messages = messages.map((message) =>
        message.id === key ? { ...message, id: prompt_id, stream_id, state: "completed", after: seq } : message,
      );
    }
    if (!findMessage(state, message_id)) {
      const at = messages.findIndex((message) => message.id === prompt_id) + 1 || messages.length;
      const answer = { id: message_id, role: "assistant", text: "", state: "sending", stream_id, local: true, after: seq };
      messages = messages.toSpliced(at, 0, answer);
    }
    return { ...state, messages };
  },

  "local.refused"(state, { key }) {
    return { ...state, messages: state.messages.filter((message) => message.id !== key) };
  },

  "local.stopping"(state, { message_id }) {
    return changeMessage(state, message_id, (message) =>
      mayFollow(message.state, "stopping") ? { ...message, state: "stopping" } : message,
    );
  },

  /** The stop was not confirmed in time: it can be asked for again. */
  "local.stop_failed"(state, { message_id }) {
    return changeMessage(state, message_id, (message) =>
      message.state === "stopping" ? { ...message, state: message.text ? "streaming" : "thinking" } : message,
    );
  },
};

/** Where the next message of the log stands: before what only this page knows of. */
export function confirmedUntil(messages) {
  return messages.findLastIndex((message) => !message.local) + 1;
}

/** The log begins to tell of this stream: what the page knows of it already stands where the log has it. */
export function placeLocal(state, streamId) {
  const local = state.messages.filter((message) => message.local && message.stream_id === streamId);
  if (!local.length) return state;
  const rest = state.messages.filter((message) => !local.includes(message));
  return { ...state, messages: rest.toSpliced(confirmedUntil(rest), 0, ...local) };
}

/** The messages without the local one that this prompt confirms, and that one's element key. */
export function replaceLocal(state, promptId, text) {
  const local =
    findMessage(state, promptId) ??
    state.messages.find((message) => message.state === "sending" && message.role === "user" && message.text === text);
  return { rest: state.messages.filter((message) => message !== local), key: local?.key };
}

/** The local messages that a snapshot, true for `seq`, does not know yet. */
export function stillLocal(state, messages, seq) {
  const known = new Set(messages.map((message) => message.id));
  const newest = messages.findLast((message) => message.role === "user");
  const isNew = state.ready && newest && !findMessage(state, newest.id);
  return state.messages.filter((message) => {
    if (!message.local || known.has(message.id)) return false;
    if (message.after !== undefined) return seq === null || seq <= message.after;
    return !(isNew && newest.text === message.text); // accepted, but the POST has not been answered yet
  });
}
