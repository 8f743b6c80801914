/** Deleting a chat is asked twice. */

import { Component, createRef, html } from "../vendor.js";

export class DeleteDialog extends Component {
  dialog = createRef();

  componentDidUpdate() {
    const { current } = this.dialog;
    if (this.props.session && !current.open) current.showModal();
    if (!this.props.session && current.open) current.close();
  }

  render({ page, session }) {
    const close = () => (page.deleting.value = null);
    const remove = () => {
      close();
      page.deleteSession(session.id);
    };
    return html`
      <dialog ref=${this.dialog} class="dialog" aria-labelledby="delete-title" onClose=${close}>
        <h2 id="delete-title">Delete this chat?</h2>
        <p>“${session?.title || "New chat"}” and everything in it will be gone, for good.</p>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${close}>Cancel</button>
          <button type="button" class="button danger" onClick=${remove}>Delete</button>
        </div>
      </dialog>
    `;
  }
}
