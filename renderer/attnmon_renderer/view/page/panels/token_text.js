/** The text that was read, painted by how much the query that is looked at attends to each token. */

import { cellAt, span } from "../pure/cells.js";
import { colourTable } from "../pure/codes.js";
import { WEIGHT_COLOURS, css, inkOn } from "../pure/palettes.js";
import { positions, tokensAt } from "../pure/words.js";
import { topOf } from "./actions.js";
import { axisTokens } from "./content.js";
import { Panel, el } from "./elements.js";
import { shown, spot } from "./store.js";

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
    const map = shown.value;
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
    const [map, at] = [shown.value, spot.value];
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

/**
 * @param {import("./store.js").Shown} map
 * @param {number} row
 */
function asked(map, row) {
  const ends = span(row, map.layer.query_step, map.layer.queries);
  const token = tokensAt(axisTokens(map).queries, ends);
  return `What query ${positions(ends)}${token && ` “${token}”`} attends to:`;
}

/**
 * @param {string[]} keys
 * @param {[number, number]} ends
 * @param {number} column
 */
function part(keys, ends, column) {
  const show = () => {
    const [map, at] = [shown.value, spot.value];
    if (map && at) spot.value = { ...at, key: column * map.layer.key_step };
  };
  const title = `key ${positions(ends)}`;
  return el("span", { role: "listitem", title, onclick: show }, tokensAt(keys, ends));
}

customElements.define("attn-tokens", TokenText);
