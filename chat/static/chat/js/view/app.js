/** The whole page, as a function of its state. */

import { html } from "../vendor.js";
import { unfinishedAnswer } from "../core/reducer.js";
import { onNextFrame } from "../render/frame.js";
import { Composer } from "./composer.js";
import { connectionPill } from "./connection_pill.js";
import { DeleteDialog } from "./delete_dialog.js";
import { whyUnavailable } from "./empty_state.js";
import { icon } from "./icons.js";
import { sidebar } from "./sidebar.js";
import { Transcript } from "./transcript.js";

export function app(page, announcement) {
  const conversation = page.conversation.value;
  const title = page.titleOf(conversation);
  const answering = whyUnavailable(conversation) ? null : unfinishedAnswer(conversation.state.value);
  return html`
    <div class="app ${page.drawerOpen.value ? "drawer-open" : ""}">
      ${sidebar(page, () => closeDrawer(page))}
      <div class="scrim" onClick=${() => closeDrawer(page)}></div>
      <div class="main" inert=${page.drawerOpen.value}>
        <header class="bar">
          <button
            type="button"
            class="icon-button menu"
            aria-label="Show chats"
            aria-expanded=${page.drawerOpen.value}
            onClick=${() => openDrawer(page)}
          >
            ${icon("menu")}
          </button>
          <h1 class=${title ? "" : "muted"}>${title || "New chat"}</h1>
          ${connectionPill(conversation)}
        </header>
        <${Transcript} key=${conversation} conversation=${conversation} state=${conversation.state.value} />
        <${Composer}
          conversation=${conversation}
          draft=${conversation.draft.value}
          problem=${conversation.problem.value}
          answering=${answering}
          state=${conversation.state.value}
          connection=${conversation.connection.value}
        />
      </div>
      <${DeleteDialog} page=${page} session=${page.deleting.value} />
      <div class="only-spoken" role="status">${announcement}</div>
    </div>
  `;
}

/** On a narrow screen the list lies over the page, and has the keyboard while it does. */
function openDrawer(page) {
  page.drawerOpen.value = true;
  afterRendering(() => document.querySelector(".sidebar .brand").focus());
}

function closeDrawer(page) {
  if (!page.drawerOpen.value) return;
  page.drawerOpen.value = false;
  afterRendering(() => document.querySelector(".menu").focus());
}

function afterRendering(work) {
  onNextFrame(() => onNextFrame(work));
}
