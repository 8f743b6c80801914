/** Who is logged in, and the way in or out. */

import { html } from "../vendor.js";
import { icon } from "./icons.js";

export function account(page) {
  if (!page.userName) {
    return html`<a class="quiet" href="/login/?next=${location.pathname}">${icon("person")}Log in</a>`;
  }
  const leave = (event) => (event.currentTarget.elements.csrfmiddlewaretoken.value = page.leave());
  return html`
    <form class="account" method="post" action="/logout/" onSubmit=${leave}>
      <input type="hidden" name="csrfmiddlewaretoken" />
      ${icon("person")}<span class="user" title=${page.userName}>${page.userName}</span>
      <button type="submit" class="quiet">Log out</button>
    </form>
  `;
}
