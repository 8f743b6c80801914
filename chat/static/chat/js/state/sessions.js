/** The list of sessions: the newest first, more on demand, searched by the server. */

import { api } from "../net/api.js";
import { batch, signal } from "../vendor.js";
import { drafts } from "./drafts.js";

const SEARCH_AFTER_MS = 200;
const SOON_MS = 150;
const WATCH_MS = 10_000; // while a session of the list is answering

export class Sessions {
  items = signal([]);
  next = signal(null);
  search = signal("");
  /** Why there is no list, for people; null if there is one. */
  problem = signal(null);
  loaded = signal(false);
  #asked = 0;
  #timer = 0;
  #soon = 0;
  #channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("jarvis-sessions") : null;

  constructor() {
    if (this.#channel) this.#channel.onmessage = () => document.hidden || this.refresh();
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    addEventListener("focus", () => this.refresh());
    setInterval(() => document.hidden || (this.items.value.some((item) => item.active) && this.refresh()), WATCH_MS);
  }

  /** Reads the newest page again; what was loaded further down stays. */
  async refresh() {
    const asked = ++this.#asked;
    try {
      const page = await api.sessions({ search: this.search.value });
      if (asked === this.#asked) this.#show(page);
    } catch (error) {
      if (asked === this.#asked) this.problem.value = error.message;
    }
  }

  /** Once, for many reasons at the same time. */
  refreshSoon() {
    this.#soon ||= setTimeout(() => {
      this.#soon = 0;
      this.refresh();
    }, SOON_MS);
  }

  async more() {
    const asked = ++this.#asked;
    try {
      const page = await api.sessions({ search: this.search.value, before: this.next.value });
      if (asked !== this.#asked) return;
      batch(() => {
        this.items.value = withoutDoubles([...this.items.value, ...page.sessions]);
        this.next.value = page.next;
      });
    } catch (error) {
      this.problem.value = error.message;
    }
  }

  find(text) {
    this.search.value = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.items.value = [];
      this.refresh();
    }, SEARCH_AFTER_MS);
  }

  async rename(id, title) {
    const before = this.items.value;
    this.items.value = before.map((item) => (item.id === id ? { ...item, title } : item));
    try {
      await api.renameSession(id, title);
      this.announce();
    } catch (error) {
      this.items.value = before;
      this.problem.value = error.message;
    }
  }

  /** Resolves to whether it is gone. */
  async remove(id) {
    try {
      await api.deleteSession(id);
    } catch (error) {
      if (error.status !== 404) {
        this.problem.value = error.message;
        return false;
      }
    }
    drafts.write(id, "");
    this.items.value = this.items.value.filter((item) => item.id !== id);
    this.announce();
    return true;
  }

  /** Something changed: this tab and this browser's other ones look again. Resolves when this one has. */
  announce() {
    this.#channel?.postMessage("changed");
    return this.refresh();
  }

  #show({ sessions, next }) {
    batch(() => {
      const oldest = sessions.at(-1)?.active_at;
      const further = next ? this.items.value.filter((item) => item.active_at < oldest) : [];
      if (further.length === 0) this.next.value = next;
      this.items.value = withoutDoubles([...sessions, ...further]);
      this.problem.value = null;
      this.loaded.value = true;
    });
  }
}

function withoutDoubles(items) {
  return [...new Map(items.map((item) => [item.id, item])).values()];
}
