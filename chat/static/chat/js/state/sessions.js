/** The list of sessions: the newest first, more on demand, searched by the server. */

import { backoffMs } from "../core/backoff.js";
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
  /** Whether the server has said what there is for `search`. */
  loaded = signal(false);
  #asked = 0;
  #failures = 0;
  #again = 0;
  #timer = 0;
  #soon = 0;
  #channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("jarvis-sessions") : null;

  constructor() {
    if (this.#channel) this.#channel.onmessage = ({ data }) => this.#heard(data);
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    for (const type of ["focus", "online"]) addEventListener(type, () => this.refresh());
    setInterval(() => document.hidden || (this.items.value.some((item) => item.active) && this.refresh()), WATCH_MS);
  }

  /** Reads the newest page again, later once more if that fails; what was loaded further down stays. */
  async refresh() {
    const asked = ++this.#asked;
    clearTimeout(this.#again);
    try {
      const page = await api.sessions({ search: this.search.value });
      if (asked === this.#asked) this.#show(page);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.problem.value = error.message;
      if (!error.mayPass) return;
      const waitMs = error.retryAfterMs ?? backoffMs(this.#failures++);
      this.#again = setTimeout(() => document.hidden || this.refresh(), waitMs); // a hidden tab does when it is shown
    }
  }

  /** Once, for many reasons at the same time. */
  refreshSoon() {
    this.#soon ||= setTimeout(() => {
      this.#soon = 0;
      this.refresh();
    }, SOON_MS);
  }

  /** Reads on where the list ends. A refresh may go on at the same time. */
  async more() {
    const search = this.search.value;
    const before = this.next.value;
    try {
      const page = await api.sessions({ search, before });
      if (search !== this.search.value || before !== this.next.value) return;
      batch(() => {
        this.items.value = withoutDoubles([...this.items.value, ...page.sessions]);
        this.next.value = page.next;
        this.problem.value = null;
      });
    } catch (error) {
      this.problem.value = error.message;
    }
  }

  find(text) {
    batch(() => {
      this.search.value = text;
      this.loaded.value = false;
      this.next.value = null; // the end of another list
    });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.items.value = [];
      this.refresh();
    }, SEARCH_AFTER_MS);
  }

  async rename(id, title) {
    const before = this.items.value.find((item) => item.id === id)?.title;
    this.#retitle(id, before, title);
    try {
      await api.renameSession(id, title);
      this.announce();
    } catch (error) {
      this.#retitle(id, title, before);
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
    this.forget(id);
    this.announce(id);
    return true;
  }

  /** This session is gone: a refresh finds that out for the newest page only. */
  forget(id) {
    this.items.value = this.items.value.filter((item) => item.id !== id);
  }

  /**
   * Something changed: this tab and this browser's other ones look again. `gone`: the id of a session that was deleted.
   * Resolves when this one has.
   */
  announce(gone = null) {
    this.#channel?.postMessage({ gone });
    return this.refresh();
  }

  #heard({ gone }) {
    if (gone) this.forget(gone);
    if (!document.hidden) this.refresh();
  }

  /** Unless it has got another title meanwhile. */
  #retitle(id, from, to) {
    const items = this.items.value;
    this.items.value = items.map((item) => (item.id === id && item.title === from ? { ...item, title: to } : item));
  }

  #show({ sessions, next }) {
    this.#failures = 0;
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

/** Of two with the same id the first stays: it is the newer one. */
function withoutDoubles(items) {
  const seen = new Set();
  return items.filter(({ id }) => !seen.has(id) && seen.add(id));
}
