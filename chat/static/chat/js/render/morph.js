/** Changing live nodes into fresh ones in place, so that what is selected, focused or scrolled stays so. */

const OWN_ATTRIBUTES = new Set(["data-copied"]); // the page's, not the text's

/** Makes the children of `parent` from position `start` on look like `fresh`, touching only what differs. */
export function morph(parent, start, fresh) {
  let replaced = 0;
  fresh.forEach((node, at) => {
    const old = parent.childNodes[start + at];
    if (!old) parent.append(node);
    else replaced += reconcile(old, node);
  });
  while (parent.childNodes.length > start + fresh.length) parent.lastChild.remove();
  return replaced;
}

/** How many nodes had to be changed or replaced; text that only grew does not count. */
function reconcile(old, fresh) {
  if (old.isEqualNode(fresh)) return 0;
  if (old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return 1;
  }
  if (old instanceof Text) return reconcileText(old, fresh.data);
  reconcileAttributes(old, fresh);
  return morph(old, 0, [...fresh.childNodes]);
}

function reconcileText(old, text) {
  if (text.startsWith(old.data)) {
    old.appendData(text.slice(old.data.length));
    return 0;
  }
  old.data = text;
  return 1;
}

function reconcileAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !OWN_ATTRIBUTES.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}
