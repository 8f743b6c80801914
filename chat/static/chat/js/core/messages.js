/** Reading and changing the messages of a conversation's state. Pure: a change makes a new state. */

export function findMessage(state, id) {
  // From the end: what changes is nearly always the newest.
  return state.messages.findLast((message) => message.id === id) ?? null;
}

export function changeMessage(state, id, change) {
  const at = state.messages.findLastIndex((message) => message.id === id);
  if (at === -1) return state;
  const changed = change(state.messages[at]);
  return changed === state.messages[at] ? state : { ...state, messages: state.messages.with(at, changed) };
}
