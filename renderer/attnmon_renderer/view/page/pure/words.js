/** Numbers, times and tokens as they are written for people. */

/**
 * A number with three digits that tell something.
 * @param {number | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 0.001) return value.toExponential(1).replaceAll("-", "−");
  const text = size >= 1000 ? whole(Math.round(value)) : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}

/**
 * A change, with its sign.
 * @param {number | null | undefined} value
 */
export function signed(value) {
  return value && value > 0 ? `+${short(value)}` : short(value);
}

/**
 * A whole number with commas: 12,400.
 * @param {number | null | undefined} value
 */
export function whole(value) {
  if (value === null || value === undefined) return "–";
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * How long ago: "4 s", "3 min", "2 h", "5 days".
 * @param {number} seconds
 */
export function age(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/**
 * Positions: "17", or "16–19".
 * @param {[number, number]} ends
 */
export function positions([first, last]) {
  return first === last ? String(first) : `${first}–${last}`;
}

/** @type {Record<string, string>} */
const SIGNS = { " ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍" };

/**
 * A token that can be seen: white space and control characters have signs.
 * @param {string} token
 */
export function visible(token) {
  // Ġ and ▁ are how tokenizers write a space that begins a word.
  const text = token.replace(/^[Ġ▁]/u, " ").replace(/[ \n\t\r]/g, (character) => SIGNS[character]);
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "�");
}

/**
 * The tokens of some positions as one text; empty where none are known.
 * @param {string[] | null} tokens
 * @param {[number, number]} ends
 */
export function tokensAt(tokens, [first, last]) {
  if (!tokens?.length) return "";
  return tokens
    .slice(first, last + 1)
    .map(visible)
    .join("");
}

/** The statistics of a head, and what they are called. */
/** @type {Record<string, string>} */
export const STATISTICS = {
  entropy: "entropy",
  effective_keys: "effective keys",
  max_logit: "largest logit",
  first_token: "weight of the first token",
  diagonal: "weight of the own position",
  distance: "mean distance",
};
