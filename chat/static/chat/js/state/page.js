/** The whole page's state: which conversation is open, the list, what is shown over it. */

import { api, csrfToken } from "../net/api.js";
import { batch, signal } from "../vendor.js";
import { Conversation } from "./conversation.js";
import { drafts } from "./drafts.js";
import { Sessions } from "./sessions.js";
import { store } from "./store.js";

const THEMES = ["system", "light", "dark"];

export class Page {
  sessions = new Sessions();
  conversation = signal(null);
  drawerOpen = signal(false);
  /** The session whose deletion is to be confirmed; null if none. */
  deleting = signal(null);
  /** The id of the session whose title is being edited; null if none. */
  renaming = signal(null);
  theme = signal(store.get("theme") ?? "system");

  #listed;

  /** `userName`: of who is logged in; empty for an anonymous browser. */
  constructor(userName) {
    this.userName = userName;
    addEventListener("popstate", () => this.#open(sessionInAddress()));
    this.#listed = this.sessions.refresh();
    this.#open(sessionInAddress());
  }

  /** Opens a session, or with null an empty page for a new one. */
  go(sessionId) {
    if (sessionInAddress() !== sessionId) history.pushState(null, "", address(sessionId));
    this.drawerOpen.value = false;
    const open = this.conversation.value;
    if (open.sessionId !== sessionId || (sessionId === null && !open.isNew)) this.#open(sessionId);
  }

  titleOf(conversation) {
    const listed = this.sessions.items.value.find((item) => item.id === conversation.sessionId);
    return conversation.state.value.title || listed?.title || conversation.title.value;
  }

  async deleteSession(id) {
    if ((await this.sessions.remove(id)) && this.conversation.value.sessionId === id) this.go(null);
  }

  /** The user logs out: what was being typed is not for who comes next. Gives the token that the form must carry. */
  leave() {
    drafts.clear();
    return csrfToken();
  }

  nextTheme() {
    this.theme.value = THEMES[(THEMES.indexOf(this.theme.value) + 1) % THEMES.length];
    store.set("theme", this.theme.value === "system" ? "" : this.theme.value);
    if (this.theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme.value;
  }

  #open(sessionId) {
    batch(() => {
      this.conversation.value?.close();
      this.renaming.value = null;
      this.conversation.value = new Conversation(sessionId, (...what) => this.#changed(...what));
    });
    if (sessionId) this.#learnTitle(this.conversation.value);
  }

  #changed(conversation, what, more) {
    if (what === "created") {
      history.replaceState(null, "", address(conversation.sessionId));
    } else if (what === "refused") {
      this.#giveBack(conversation.sessionId, more);
    } else if (what === "named") {
      this.#listed = this.sessions.announce(); // not before: a list of chats that have no name yet helps nobody
      this.#learnTitle(conversation);
    } else {
      this.sessions.refreshSoon(); // every tab that is on this session hears of it by itself
    }
  }

  /** A prompt of a conversation that was left before it could be sent. */
  #giveBack(sessionId, { text, problem }) {
    const open = this.conversation.value;
    if (open.sessionId === sessionId) open.giveBack(text, problem);
    else drafts.write(sessionId, [text, drafts.read(sessionId)].filter(Boolean).join("\n\n"));
  }

  /** The list holds the newest sessions that are searched for; the title of another one is asked for. */
  async #learnTitle(conversation) {
    await this.#listed;
    if (this.sessions.items.value.some((item) => item.id === conversation.sessionId)) return;
    const session = await api.readSession(conversation.sessionId).catch(() => null);
    if (session && !conversation.title.value) conversation.title.value = session.title;
  }
}

function address(sessionId) {
  return sessionId ? `/s/${sessionId}/` : "/";
}

function sessionInAddress() {
  return /^\/s\/([0-9a-fA-F-]{32,36})\/?$/.exec(location.pathname)?.[1] ?? null;
}
