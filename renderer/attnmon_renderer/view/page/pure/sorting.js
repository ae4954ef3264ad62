/** The order in which heads are shown: by layer, or by how much they have changed. */

import { headValue } from "./history.js";

/** @typedef {import("./history.js").HistoryRow} HistoryRow */
/** @typedef {{stem: string, head: number, change: number | null}} HeadPlace */

/**
 * Every head, in the order of the layers.
 * @param {{stem: string, heads: number[]}[]} layers
 * @param {string} statistic
 * @param {HistoryRow | undefined} now
 * @param {HistoryRow | undefined} then
 * @returns {HeadPlace[]}
 */
export function changes(layers, statistic, now, then) {
  return layers.flatMap(({ stem, heads }) =>
    heads.map((head) => {
      const [after, before] = [now, then].map((row) => headValue(row, stem, head, statistic));
      const change = after === null || before === null ? null : after - before;
      return { stem, head, change };
    }),
  );
}

/**
 * The heads that changed most first, whichever way; those of which nothing is known last.
 * @param {HeadPlace[]} places
 */
export function byChange(places) {
  const size = (/** @type {HeadPlace} */ place) =>
    place.change === null ? -1 : Math.abs(place.change);
  return [...places].sort((a, b) => size(b) - size(a));
}

const KINDS = ["encoder", "decoder self", "decoder cross"];

/**
 * The layers of a kind one after the other, as they are shown.
 * @template {{stem: string}} Layer
 * @param {Layer[]} layers
 */
export function byKind(layers) {
  const place = (/** @type {Layer} */ { stem }) => {
    const name = layerName(stem);
    return [KINDS.indexOf(name?.kind ?? ""), name?.layer ?? 0];
  };
  return [...layers].sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
}

/**
 * The role, layer and type in a layer's stem, and how it is written; null for another text.
 * @param {string} stem
 */
export function layerName(stem) {
  const named = /^(encoder|decoder)_layer(\d+)_(self|cross)_attn$/.exec(stem);
  if (!named) return null;
  const [, role, layer, type] = named;
  return { role, layer: Number(layer), type, kind: role === "encoder" ? role : `${role} ${type}` };
}
