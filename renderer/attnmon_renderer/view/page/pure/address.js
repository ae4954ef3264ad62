/** What is looked at, as the query of the page's address keeps it. */

/** @type {Readonly<Place>} */
export const START = Object.freeze({
  screen: "live",
  run: null,
  step: null,
  layer: null,
  head: "mean",
  view: "map",
  against: "previous",
  other: null,
  partner: null,
  tied: true,
  kind: "",
  sort: "layer",
  statistic: "entropy",
  scale: "shared",
  part: null,
  full: false,
  align: "step",
  axis: "step",
});

/** @type {Record<string, string[]>} */
const CHOICES = {
  screen: ["live", "compare", "run", "runs"],
  view: ["map", "both", "difference"],
  sort: ["layer", "change"],
  align: ["step", "loss", "end"],
  axis: ["step", "time"],
};

/** @type {Record<string, RegExp>} */
const PATTERNS = {
  step: /^-?\d{1,15}$/,
  layer: /^(encoder|decoder)_layer\d{1,6}_(self|cross)_attn$/,
  partner: /^(encoder|decoder)_layer\d{1,6}_(self|cross)_attn:\d{1,9}:\d{1,9}$/,
  head: /^(mean|\d{1,9})$/,
  against: /^(first|previous|-?\d{1,15})$/,
  scale: /^(shared|own|\d{1,9}(\.\d{1,12})?(e-\d{1,2})?)$/,
  part: /^-?\d+(\.\d+)?(,-?\d+(\.\d+)?){3}$/,
};

/**
 * Reads an address; what is not understood is as at the start.
 * @param {string} query
 * @returns {Place}
 */
export function parse(query) {
  /** @type {Record<string, any>} */
  const place = { ...START };
  for (const [name, text] of new URLSearchParams(query)) {
    if (!Object.hasOwn(START, name) || !isMeant(name, text)) continue;
    place[name] = parseValue(name, text);
  }
  return /** @type {Place} */ (place);
}

/** @param {string} name @param {string} text */
function isMeant(name, text) {
  return CHOICES[name]?.includes(text) ?? PATTERNS[name]?.test(text) ?? true;
}

/** @param {string} name @param {string} text */
function parseValue(name, text) {
  if (name === "step") return Number(text);
  if (name === "full" || name === "tied") return text === "1";
  if (name !== "part") return text;
  const [q0, q1, k0, k1] = text.split(",").map(Number);
  return q0 < q1 && k0 < k1 ? { q0, q1, k0, k1 } : null;
}

/**
 * The query of an address: what differs from the start.
 * @param {Place} place
 */
export function format(place) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(place)) {
    if (value === /** @type {Record<string, any>} */ (START)[name] || value === null) continue;
    query.set(name, formatValue(value));
  }
  const text = query.toString();
  return text ? `?${text.replaceAll("%2C", ",")}` : "";
}

/** @param {any} value */
function formatValue(value) {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value !== "object") return String(value);
  const { q0, q1, k0, k1 } = value;
  return [q0, q1, k0, k1].map((end) => Number(end.toFixed(2))).join(",");
}
