/** Where a link in a model's text may lead. Pure. */

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/** The address to use, or null: only absolute addresses of a few schemes are links, all others stay text. */
export function allowedHref(href) {
  if (typeof href !== "string" || !URL.canParse(href)) return null;
  const url = new URL(href);
  return SCHEMES.has(url.protocol) ? url.href : null;
}
