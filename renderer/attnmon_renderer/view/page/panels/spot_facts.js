/** What is known of the cell that is looked at, and the text that its query attends to. */

import { cellAt, span } from "../pure/cells.js";
import { WEIGHT_COLOURS, colourTable, css, inkOn } from "../pure/codes.js";
import { columnMean, meanDistance, rowFacts } from "../pure/distance.js";
import { headValue } from "../pure/history.js";
import { STATISTICS, positions, short, signed, tokensAt } from "../pure/words.js";
import { topOf } from "./actions.js";
import { axisTokens, unlike } from "./content.js";
import { Panel, button, el } from "./elements.js";
import { strongestKey } from "./marginals.js";
import * as store from "./store.js";

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

/** @param {Shown} map @param {Pair | null} pair @param {{row: number, column: number}} cell */
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

/** @param {number} a @param {number} b */
function values(a, b) {
  return `A ${exact(a)} · B ${exact(b)} · B−A ${signed(b - a)}`;
}

/** @param {number} weight with as many digits as the store has */
function exact(weight) {
  return weight >= 0.001 ? weight.toFixed(4) : short(weight);
}

/** @param {Shown} map @param {"query" | "key"} axis @param {number} cell */
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

/** @param {Shown} map @param {Pair | null} pair */
function headFacts(map, pair) {
  const { run, capture, layer, head } = map;
  const row = store.stateOf(run).row(capture.step);
  const facts = head === "mean" ? [] : Object.entries(STATISTICS).flatMap(([name, words]) => {
    const value = headValue(row, layer.stem, Number(head), name);
    return value === null ? [] : [`${words} ${short(value)}`];
  });
  const distance = pair && meanDistance(pair.a.weights, pair.b.weights, layer.columns);
  const least = layer.key_step > 1 || layer.query_step > 1 ? "at least " : "";
  const apart = typeof distance === "number" ? [`A and B are ${least}${short(distance)} bits apart (mean Jensen–Shannon of the rows)`] : [];
  const whose = pair && facts.length ? [`head of ${map === pair.a ? "A" : "B"}: ${facts.join(" · ")}`] : facts;
  return [...apart, ...whose].join(" · ");
}

class TokenText extends Panel {
  /** @type {HTMLElement[]} */
  parts = [];
  text = "";
  isPlain = false;

  build() {
    this.words = el("p", { className: "faint" });
    this.tokens = el("p", { className: "tokens", role: "list" });
    this.append(this.words, this.tokens);
    this.watch(() => this.write());
    this.watch(() => this.paint());
  }

  write() {
    const map = store.shown.value;
    const keys = map && axisTokens(map).keys;
    this.hidden = !keys;
    if (!map || !keys) return;
    const { columns, key_step, keys: count } = map.layer;
    const text = JSON.stringify([keys, columns]);
    if (text === this.text) return;
    this.text = text;
    this.parts = Array.from({ length: columns }, (_, column) => part(keys, span(column, key_step, count), column));
    this.tokens?.replaceChildren(...this.parts);
  }

  paint() {
    const [map, at] = [store.shown.value, store.spot.value];
    const cell = map && at && cellAt(map.layer, at.query, at.key);
    if (this.words) this.words.textContent = cell ? asked(map, cell.row) : "Point at a query: its weights are painted on the keys.";
    const wasPlain = this.isPlain;
    this.isPlain = !cell;
    if (wasPlain && this.isPlain) return;
    const table = map && colourTable(WEIGHT_COLOURS, map.scale, topOf(map));
    this.parts.forEach((each, column) => {
      const index = cell ? cell.row * map.layer.columns + column : 0;
      const isPlain = !cell || !table || map.masked?.[index];
      const colour = isPlain ? null : table[map.codes[index]];
      each.style.backgroundColor = colour === null ? "" : css(colour);
      each.style.color = colour === null ? "" : inkOn(colour);
      each.classList.toggle("hidden", Boolean(cell && map.masked?.[index]));
    });
  }
}

/** @param {Shown} map @param {number} row */
function asked(map, row) {
  const ends = span(row, map.layer.query_step, map.layer.queries);
  const token = tokensAt(axisTokens(map).queries, ends);
  return `What query ${positions(ends)}${token && ` “${token}”`} attends to:`;
}

/** @param {string[]} keys @param {[number, number]} ends @param {number} column */
function part(keys, ends, column) {
  const show = () => {
    const [map, at] = [store.shown.value, store.spot.value];
    if (map && at) store.spot.value = { ...at, key: column * map.layer.key_step };
  };
  const title = `key ${positions(ends)}`;
  return el("span", { role: "listitem", title, onclick: show }, tokensAt(keys, ends));
}

customElements.define("attn-facts", SpotFacts);
customElements.define("attn-tokens", TokenText);
