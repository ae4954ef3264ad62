/** What a map canvas shows: cells with colours, values and words. */

import { isPooled } from "../pure/cells.js";
import { CHANGE_COLOURS, WEIGHT_COLOURS, colourTable, largestTold, maskedGrey, paintChanges, paintCodes, roundedTop } from "../pure/codes.js";
import { difference } from "../pure/distance.js";
import { layerName } from "../pure/history.js";
import { whole } from "../pure/words.js";

/** @param {Shown} map @param {number} top @param {boolean} isDark @param {string} title @returns {Content} */
export function weightContent(map, top, isDark, title) {
  const { codes, scale, weights: values, masked } = map;
  const pixels = new Uint32Array(codes.length);
  paintCodes(codes, colourTable(WEIGHT_COLOURS, scale, top), masked, maskedGrey(isDark), pixels);
  return { map, values, masked, pixels, top, isChange: false, title };
}

/**
 * B − A, where both have the same cells; a cell that is masked in both is grey.
 * @param {Shown} a
 * @param {Shown} b
 * @param {boolean} isDark
 * @param {string} title
 * @returns {Content}
 */
export function changeContent(a, b, isDark, title) {
  const values = difference(a.weights, b.weights);
  const masked = a.masked && b.masked && a.masked.map((hidden, cell) => hidden & Number(b.masked?.[cell]));
  const top = roundedTop(largestTold(values, masked, a.layer.columns));
  const pixels = new Uint32Array(values.length);
  paintChanges(values, CHANGE_COLOURS, top, masked, maskedGrey(isDark, true), pixels);
  return { map: a, values, masked, pixels, top, isChange: true, title };
}

/**
 * Why the cells of two maps do not stand for the same; empty if they do.
 * @param {Shown} a
 * @param {Shown} b
 */
export function unlike(a, b) {
  const shapes = [a, b].map(({ layer }) => `${layer.queries} × ${layer.keys}`);
  if (shapes[0] !== shapes[1]) return `A has ${shapes[0]} positions and B ${shapes[1]}: no difference`;
  const isSameGrid = a.layer.rows === b.layer.rows && a.layer.columns === b.layer.columns;
  return isSameGrid ? "" : "A and B are pooled differently: no difference";
}

/**
 * What is to be said of the texts of two maps; empty if they are the same and known.
 * @param {Shown} a
 * @param {Shown} b
 */
export function textsApart(a, b) {
  const [one, two] = [a, b].map(({ capture }) => JSON.stringify(capture.tokens));
  if (one !== two) return "A and B show different texts: a difference of cells is not one of the model";
  return a.capture.tokens ? "" : "whether A and B show the same text is not known: no tokens were named";
}

/**
 * The tokens of a map's queries and keys; null where they are not known.
 * @param {Shown} map
 */
export function axisTokens({ capture, layer }) {
  const name = layerName(layer.stem);
  const role = name?.role === "encoder" ? "encoder" : "decoder";
  const own = capture.tokens?.[role] ?? [];
  const attended = name?.type === "cross" ? (capture.tokens?.encoder ?? []) : own;
  const before = Array.from({ length: layer.earlier }, (_, place) => `−${layer.earlier - place}`);
  const keys = [...before, ...attended];
  return {
    queries: own.length === layer.queries ? own : null,
    keys: attended.length > 0 && keys.length === layer.keys ? keys : null,
  };
}

/**
 * Which layer and head a map is of.
 * @param {Shown} map
 */
export function headOf({ layer, head }) {
  const name = layerName(layer.stem);
  const which = name ? `${name.kind} layer ${name.layer}` : layer.stem;
  return `${which} · ${head === "mean" ? `mean of ${layer.heads.length - layer.missing.length} heads` : `head ${head}`}`;
}

/**
 * The words above a map.
 * @param {Shown} map
 */
export function titleOf(map) {
  return `${headOf(map)} · step ${whole(map.capture.step)}`;
}

/**
 * What the cells of a map are, and what they are not.
 * @param {LayerMaps} layer
 */
export function cellWords(layer) {
  const size = `${layer.queries} ${layer.queries === 1 ? "query" : "queries"} × ${layer.keys} ${layer.keys === 1 ? "key" : "keys"}`;
  const sampled = layer.sampled ? `made of ${layer.sampled} evenly spaced queries` : "";
  const pooled = isPooled(layer)
    ? `a cell is ${layer.query_step} × ${layer.key_step} positions: the keys' sum, the queries' mean`
    : "every position is a cell";
  const hidden = layer.non_finite ? `${layer.non_finite} cells were not finite and are shown as 0` : "";
  const { missing } = layer;
  const lost = missing.length ? `nothing was recorded of head ${missing.join(", ")}` : "";
  return [size, pooled, sampled, hidden, lost, layer.note].filter(Boolean).join(" · ");
}
