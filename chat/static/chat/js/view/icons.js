/** The page's few icons, drawn on a grid of 20 with strokes. */

import { html } from "../vendor.js";

const PATHS = {
  plus: "M10 4v12M4 10h12",
  send: "M10 16V4M5 9l5-5 5 5",
  down: "M10 4v12M5 11l5 5 5-5",
  menu: "M3 6h14M3 10h14M3 14h14",
  edit: "M12.5 4.5l3 3L7 16l-3.5.5L4 13z",
  trash: "M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6",
  copy: "M7 7V4h9v9h-3M4 7h9v9H4z",
  retry: "M16 5v4h-4M16 9a6.5 6.5 0 1 0 .3 3.5",
  search: "M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4zM13 13l3.5 3.5",
  system: "M3 4h14v9H3zM7 16h6M10 13v3",
  light: "M10 7a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.3l1.4 1.4M14.3 14.3l1.4 1.4M4.3 15.7l1.4-1.4M14.3 5.7l1.4-1.4",
  dark: "M16 12.2A6.6 6.6 0 0 1 7.8 4a6.6 6.6 0 1 0 8.2 8.2z",
  person: "M10 3.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM4 16.5a6 6 0 0 1 12 0",
  warning: "M10 3.5l7.5 13h-15zM10 8.5v3.5M10 14.2v.3",
};

export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}

export function stopIcon() {
  return html`<svg class="icon solid" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
    <rect x="5" y="5" width="10" height="10" rx="2" />
  </svg>`;
}
