/**
 * Prompts on their way, kept in this tab: an impatient reload loses none. Belongs to one page and its user.
 *
 * An entry is `{user, sessionId, key, text, at}`; `sessionId` null while its chat is being made.
 */

const NAME = "jarvis.outbox";

export const outbox = {
  add(entry) {
    write([...read(), { ...entry, at: Date.now() }]);
  },

  /** The chat of these prompts has been made. */
  created(sessionId, keys) {
    write(read().map((entry) => (keys.has(entry.key) ? { ...entry, sessionId } : entry)));
  },

  remove(key) {
    write(read().filter((entry) => entry.key !== key));
  },

  /** What a page before this one has left behind, once; another user's is dropped. */
  takeLeft(user) {
    const left = read();
    write([]);
    return left.filter((entry) => entry.user === user);
  },
};

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME)) ?? [];
  } catch {
    return []; // forbidden: then nothing was kept
  }
}

function write(entries) {
  try {
    if (entries.length) sessionStorage.setItem(NAME, JSON.stringify(entries));
    else sessionStorage.removeItem(NAME);
  } catch {
    // full or forbidden
  }
}
