/** One chat of the list: open, rename in place, delete. */

import { Component, html } from "../vendor.js";
import { icon } from "./icons.js";
import { followLink } from "./sidebar.js";

export class SessionRow extends Component {
  render({ page, item, open, answering, renaming }) {
    if (renaming) return this.editor(page, item);
    const title = item.title || "New chat";
    return html`
      <li class=${open ? "open" : ""}>
        <a
          href="/s/${item.id}/"
          title=${title}
          aria-current=${open ? "page" : null}
          onClick=${(event) => followLink(event, page, item.id)}
        >
          ${answering && html`<span class="live" title="Answering"><span class="only-spoken">Answering: </span></span>`}
          <span class="title">${title}</span>
        </a>
        <span class="row-actions">
          <button
            type="button"
            class="icon-button small"
            aria-label="Rename ${title}"
            title="Rename"
            onClick=${() => (page.renaming.value = item.id)}
          >
            ${icon("edit")}
          </button>
          <button
            type="button"
            class="icon-button small"
            aria-label="Delete ${title}"
            title="Delete"
            onClick=${() => (page.deleting.value = item)}
          >
            ${icon("trash")}
          </button>
        </span>
      </li>
    `;
  }

  editor(page, item) {
    const done = (input, keep) => {
      if (page.renaming.value !== item.id) return;
      page.renaming.value = null;
      const title = input.value.trim();
      if (keep && title && title !== item.title) page.sessions.rename(item.id, title);
    };
    const keys = (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" || event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        done(event.currentTarget, event.key === "Enter");
      }
    };
    // Not `value`: a rendering must leave what is being typed alone.
    return html`
      <li class="editing">
        <input
          class="rename"
          aria-label="New title"
          maxlength="200"
          defaultValue=${item.title}
          ref=${(input) => input && this.focusOnce(input)}
          onKeyDown=${keys}
          onBlur=${(event) => done(event.currentTarget, true)}
        />
      </li>
    `;
  }

  focusOnce(input) {
    if (this.focused === input) return;
    this.focused = input;
    input.focus();
    input.select();
  }
}
