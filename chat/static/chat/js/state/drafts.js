/** What is being typed, kept for each session while it is typed. */

import { store } from "./store.js";

const name = (sessionId) => `draft.${sessionId ?? "new"}`;

/** A prompt that could not be sent, before what has been written since. */
export function givenBack(text, draft) {
  return [text, draft].filter(Boolean).join("\n\n");
}

export const drafts = {
  read: (sessionId) => store.get(name(sessionId)) ?? "",
  write: (sessionId, text) => store.set(name(sessionId), text),
  clear: () => store.clear("draft."),
};
