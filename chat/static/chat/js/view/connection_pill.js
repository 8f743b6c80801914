/** Whether this page hears of what happens. */

import { html } from "../vendor.js";

const LABELS = {
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  offline: "Offline",
  gone: "Not available",
  signed_out: "Logged out",
};

export function connectionPill(conversation) {
  const state = conversation.connection.value;
  if (!(state in LABELS)) return null;
  const trouble = state === "reconnecting" || state === "offline";
  return html`
    <div class="connection ${state}" data-connection=${state}>
      <span class="dot"></span>
      <span class="label" role=${trouble ? "status" : null}>${LABELS[state]}</span>
      ${trouble && html`<button type="button" class="quiet" onClick=${() => conversation.reconnect()}>Try now</button>`}
    </div>
  `;
}
