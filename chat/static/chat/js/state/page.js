/** The whole page's state: which conversation is open, the list, what is shown over it. */

import { api, csrfToken } from "../net/api.js";
import { batch, signal } from "../vendor.js";
import { Conversation } from "./conversation.js";
import { drafts, givenBack } from "./drafts.js";
import { outbox } from "./outbox.js";
import { Sessions } from "./sessions.js";
import { store } from "./store.js";

const RESENT_MS = 300_000; // what is older may no longer be wanted: it goes back to the draft
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
  /** Conversations that were left with prompts on their way. */
  #left = new Set();

  /** `userName`: of who is logged in; empty for an anonymous browser. */
  constructor(userName) {
    this.userName = userName;
    addEventListener("popstate", () => this.#open(sessionInAddress()));
    this.#listed = this.sessions.refresh();
    this.#open(sessionInAddress());
    for (const entry of outbox.takeLeft(userName)) this.#sendAgain(entry);
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
    const before = this.conversation.value;
    const left = sessionId && [...this.#left].find((conversation) => conversation.sessionId === sessionId);
    batch(() => {
      before?.close();
      if (before?.isSending) this.#left.add(before);
      this.renaming.value = null;
      if (left) left.reopen();
      this.conversation.value =
        left || new Conversation(sessionId, this.userName, (...what) => this.#changed(...what));
    });
    this.#left = new Set([...this.#left].filter((conversation) => conversation !== left && conversation.isSending));
    if (sessionId) this.#learnTitle(this.conversation.value);
  }

  /** A prompt that was on its way when the page was left. */
  #sendAgain({ sessionId, key, text, at }) {
    const open = this.conversation.value;
    if (open.sessionId !== sessionId) this.#toDraft(sessionId, text);
    else if (sessionId === null || Date.now() - at > RESENT_MS) open.write(givenBack(text, open.draft.value));
    else open.send(text, key);
  }

  #changed(conversation, what, more) {
    if (what === "created") {
      history.replaceState(null, "", address(conversation.sessionId));
    } else if (what === "refused") {
      this.#giveBack(conversation, more);
    } else if (what === "named") {
      this.#listed = this.sessions.announce(); // not before: a list of chats that have no name yet helps nobody
      this.#learnTitle(conversation);
    } else {
      if (conversation.state.value.deleted) this.sessions.forget(conversation.sessionId);
      this.sessions.refreshSoon(); // every tab that is on this session hears of it by itself
    }
  }

  /** A prompt of a conversation that was left before it could be sent. */
  #giveBack(conversation, { text, problem }) {
    const open = this.conversation.value;
    if (open.sessionId === conversation.sessionId) {
      open.giveBack(text, problem);
      return;
    }
    this.#toDraft(conversation.sessionId, text);
    const title = this.titleOf(conversation) || "New chat";
    open.problem.value = `In “${title}”: ${problem} What you wrote is there.`;
    this.#listed = this.sessions.announce(); // so that a chat without a name can be found, too
  }

  #toDraft(sessionId, text) {
    drafts.write(sessionId, givenBack(text, drafts.read(sessionId)));
  }

  /** From the list, which may be searched for others later; the title of a session that is not in it is asked for. */
  async #learnTitle(conversation) {
    await this.#listed;
    const listed = this.sessions.items.value.find((item) => item.id === conversation.sessionId);
    const session = listed ?? (await api.readSession(conversation.sessionId).catch(() => null));
    if (session && !conversation.title.value) conversation.title.value = session.title;
  }
}

function address(sessionId) {
  return sessionId ? `/s/${sessionId}/` : "/";
}

function sessionInAddress() {
  return /^\/s\/([0-9a-fA-F-]{32,36})\/?$/.exec(location.pathname)?.[1] ?? null;
}
