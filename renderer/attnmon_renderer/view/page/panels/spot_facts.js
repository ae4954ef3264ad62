/** What is known of the cell that is looked at, of its row and of its column. */

import { cellAt, span } from "../pure/cells.js";
import { columnMean, meanDistance, rowFacts } from "../pure/distance.js";
import { headValue } from "../pure/history.js";
import { STATISTICS, positions, short, signed, tokensAt } from "../pure/words.js";
import { axisTokens, unlike } from "./content.js";
import { Panel, button, el } from "./elements.js";
import { strongestKey } from "./marginals.js";
import * as store from "./store.js";

/** @typedef {import("./store.js").Shown} Shown */
/** @typedef {{a: Shown, b: Shown}} Pair */

class SpotFacts extends Panel {
  draw() {
    const [map, pair, at] = [store.shown.value, store.pair.value, store.spot.value];
    if (!map) return [];
    const like = pair && !unlike(pair.a, pair.b) ? pair : null;
    const cell = at && cellAt(map.layer, at.query, at.key);
    const words = cell ? cellFacts(map, like, cell) : [hint()];
    return [el("p", { className: "spot" }, ...words), el("p", { className: "faint" }, headFacts(map, like))];
  }
}

function hint() {
  const touch = matchMedia("(hover: none)").matches;
  return touch ? "Tap a cell to see its weight." : "Point at a cell to see its weight; click to hold it.";
}

/**
 * @param {Shown} map
 * @param {Pair | null} pair
 * @param {{row: number, column: number}} cell
 */
function cellFacts(map, pair, { row, column }) {
  const { layer, weights, masked } = map;
  const index = row * layer.columns + column;
  const isMasked = Boolean(masked?.[index]);
  const isMissing = layer.missing.includes(Number(map.head));
  const hidden = isMissing ? "nothing was recorded of this head" : "masked: this query may not see this key";
  const weight = isMasked && !pair ? hidden : exact(weights[index]);
  const value = pair ? values(pair.a.weights[index], pair.b.weights[index]) : weight;
  const facts = rowFacts(weights.subarray(row * layer.columns, (row + 1) * layer.columns));
  const received = map.received?.[column] ?? columnMean(weights, masked, layer.columns, column);
  const key = strongestKey(map, row);
  const strongest = key === null ? "none" : `key ${quoted(axisTokens(map).keys, [key, key])}`;
  const whose = pair ? ` of ${map === pair.a ? "A" : "B"}` : "";
  const many = layer.key_step > 1 ? `groups of ${layer.key_step} keys` : "keys";
  return [
    el("b", {}, `${named(map, "query", row)} → ${named(map, "key", column)}`),
    el("output", { className: "weight", "aria-live": "polite" }, value),
    el("span", {}, `row${whose}: effective ${many} ${short(facts.effective)}, entropy ${short(facts.bits)} bits, strongest ${strongest}`),
    el("span", {}, `column${whose}: receives ${short(received)} of a query on average`),
    store.spot.value?.isLocked && button("let go", "let go of the cell (esc)", () => (store.spot.value = null)),
  ].filter((child) => child !== false && child !== undefined);
}

/**
 * @param {number} a
 * @param {number} b
 */
function values(a, b) {
  return `A ${exact(a)} · B ${exact(b)} · B−A ${signed(b - a)}`;
}

/** @param {number} weight with as many digits as the store has */
function exact(weight) {
  return weight >= 0.001 ? weight.toFixed(4) : short(weight);
}

/**
 * @param {Shown} map
 * @param {"query" | "key"} axis
 * @param {number} cell
 */
function named(map, axis, cell) {
  const { layer } = map;
  const tokens = axisTokens(map);
  const isQuery = axis === "query";
  const ends = isQuery ? span(cell, layer.query_step, layer.queries) : span(cell, layer.key_step, layer.keys);
  return `${axis} ${quoted(isQuery ? tokens.queries : tokens.keys, ends)}`;
}

/**
 * Positions with their tokens.
 * @param {string[] | null} tokens
 * @param {[number, number]} ends
 */
function quoted(tokens, ends) {
  const text = tokensAt(tokens, ends);
  return `${positions(ends)}${text && ` “${text.length > 40 ? `${text.slice(0, 40)}…` : text}”`}`;
}

/**
 * @param {Shown} map
 * @param {Pair | null} pair
 */
function headFacts({ run, capture, layer, head }, pair) {
  const row = store.stateOf(run).row(capture.step);
  const facts = head === "mean" ? [] : Object.entries(STATISTICS).flatMap(([name, words]) => {
    const value = headValue(row, layer.stem, Number(head), name);
    return value === null ? [] : [`${words} ${short(value)}`];
  });
  const distance = pair && meanDistance(pair.a.weights, pair.b.weights, layer.columns);
  const least = layer.key_step > 1 || layer.query_step > 1 ? "at least " : "";
  const apart = typeof distance === "number" ? [`A and B are ${least}${short(distance)} bits apart (mean Jensen–Shannon of the rows)`] : [];
  return [...apart, ...facts].join(" · ");
}

customElements.define("attn-facts", SpotFacts);
