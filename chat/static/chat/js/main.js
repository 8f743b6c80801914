/** Starts the page: state → one rendering per animation frame at most. */

import { effect, render } from "./vendor.js";
import { onNextFrame } from "./render/frame.js";
import { Page } from "./state/page.js";
import { announcer } from "./view/announcer.js";
import { app } from "./view/app.js";

const root = document.getElementById("app");
const page = new Page(root.dataset.user);
const announcement = announcer(page.conversation);
let newest = null;

/** As in layout.css: a wide screen has no drawer, so no scrim to close it with. */
matchMedia("(max-width: 48rem)").addEventListener("change", () => (page.drawerOpen.value = false));

/** Whatever `app` reads, it reads while this runs: so a change of any of it is noticed. */
effect(() => {
  const title = page.titleOf(page.conversation.value);
  document.title = title ? `${title} · Jarvis` : "Jarvis";
  const first = newest === null;
  newest = app(page, announcement.value);
  if (first) onNextFrame(draw);
});

function draw() {
  const view = newest;
  newest = null;
  render(view, root);
}
