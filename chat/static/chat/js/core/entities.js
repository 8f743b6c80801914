/** HTML character references in a model's text (`&amp;`, `&#8594;`) → characters. Pure; those not known stay as they are. */

const NAMED = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", ensp: "\u2002", emsp: "\u2003", thinsp: "\u2009",
  copy: "©", reg: "®", trade: "™", hellip: "…", mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”",
  laquo: "«", raquo: "»", bull: "•", middot: "·", deg: "°", plusmn: "±", times: "×", divide: "÷", frac12: "½",
  le: "≤", ge: "≥", ne: "≠", asymp: "≈", infin: "∞", sum: "∑", prod: "∏", radic: "√", int: "∫", pi: "π", micro: "µ",
  larr: "←", rarr: "→", uarr: "↑", darr: "↓", harr: "↔", rArr: "⇒", hArr: "⇔", euro: "€", pound: "£", yen: "¥",
  cent: "¢", sect: "§", para: "¶", check: "✓", alpha: "α", beta: "β", gamma: "γ", delta: "δ", lambda: "λ", mu: "μ",
  sigma: "σ", omega: "ω", Delta: "Δ", Sigma: "Σ", Omega: "Ω", sup2: "²", sup3: "³", szlig: "ß", eacute: "é",
};

export function decodeEntities(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z][a-zA-Z0-9]*));/g, (all, decimal, hex, name) => {
    if (name) return Object.hasOwn(NAMED, name) ? NAMED[name] : all;
    return character(decimal ? Number(decimal) : Number.parseInt(hex, 16));
  });
}

function character(code) {
  const valid = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return valid ? String.fromCodePoint(code) : "\ufffd";
}
