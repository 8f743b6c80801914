/** What a screen reader is told: that an answer has begun, goes on, has ended. Never its tokens. */

import { isEnded } from "../core/message_state.js";
import { unfinishedAnswer } from "../core/reducer.js";
import { effect, signal } from "../vendor.js";
import { whyUnavailable } from "./empty_state.js";
import { endNote } from "./message_notes.js";

const AGAIN_MS = 20_000;

/** A signal with the sentence to say now, for the conversation that `conversation` (a signal) holds. */
export function announcer(conversation) {
  const sentence = signal("");
  let followed = null;
  let timer = 0;
  effect(() => {
    const { state, connection } = conversation.value;
    const answer = whyUnavailable(conversation.value) ? null : unfinishedAnswer(state.value);
    const now = answer?.id ?? null;
    if (now === followed) return;
    const ended = state.value.messages.find((message) => message.id === followed && isEnded(message.state));
    followed = now;
    clearInterval(timer);
    if (now) {
      sentence.value = "Jarvis is answering.";
      timer = setInterval(() => {
        if (connection.peek() === "connected") sentence.value = again(sentence.peek());
      }, AGAIN_MS);
    } else if (ended) {
      sentence.value = endNote(ended)?.text ?? "The answer is finished.";
    } else {
      sentence.value = "";
    }
  });
  return sentence;
}

function again(sentence) {
  return sentence === "Still answering." ? "Still answering…" : "Still answering."; // the same words are not said twice
}
