/** The list of chats, and what is done with the page as a whole. */

import { html } from "../vendor.js";
import { unfinishedAnswer } from "../core/reducer.js";
import { account } from "./account.js";
import { icon } from "./icons.js";
import { SessionRow } from "./session_row.js";

const THEME_LABELS = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };

export function sidebar(page, closeDrawer) {
  const { sessions } = page;
  const close = (event) => event.key === "Escape" && closeDrawer();
  return html`
    <nav class="sidebar" aria-label="Chats" onKeyDown=${close}>
      <div class="sidebar-top">
        <a class="brand" href="/" onClick=${(event) => followLink(event, page, null)}>
          <span class="mark" aria-hidden="true"></span>Jarvis
        </a>
        <a
          class="icon-button"
          href="/"
          aria-label="New chat"
          title="New chat"
          onClick=${(event) => followLink(event, page, null)}
        >
          ${icon("plus")}
        </a>
      </div>
      <label class="search">
        ${icon("search")}
        <input
          type="search"
          placeholder="Search chats"
          aria-label="Search chats"
          value=${sessions.search.value}
          onInput=${(event) => sessions.find(event.currentTarget.value)}
        />
      </label>
      <div class="sessions">${list(page)}</div>
      <div class="sidebar-bottom">
        ${account(page)}
        <button type="button" class="quiet" onClick=${() => page.nextTheme()}>
          ${icon(page.theme.value)}${THEME_LABELS[page.theme.value]}
        </button>
      </div>
    </nav>
  `;
}

function list(page) {
  const { sessions } = page;
  const items = sessions.items.value;
  const problem = sessions.problem.value && html`<p class="hint" role="alert">${sessions.problem.value}</p>`;
  if (problem && !items.length) return problem;
  if (!items.length && !sessions.loaded.value) return null;
  if (!items.length) return html`<p class="hint">${sessions.search.value ? "Nothing found." : "No chats yet."}</p>`;
  return html`
    ${problem}
    <ul>
      ${items.map((item) => html`<${SessionRow} key=${item.id} page=${page} item=${item} ...${flags(page, item)} />`)}
    </ul>
    ${sessions.next.value &&
    html`<button type="button" class="quiet more" onClick=${() => sessions.more()}>Show more</button>`}
  `;
}

function flags(page, item) {
  const conversation = page.conversation.value;
  const open = conversation.sessionId === item.id;
  // What this page hears itself is newer than the list.
  const answering = open && conversation.state.value.ready ? unfinishedAnswer(conversation.state.value) : item.active;
  return { open, answering: Boolean(answering), renaming: page.renaming.value === item.id };
}

/** A plain click stays in this page; any other (new tab, new window) is the browser's. */
export function followLink(event, page, sessionId) {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  page.go(sessionId);
}
