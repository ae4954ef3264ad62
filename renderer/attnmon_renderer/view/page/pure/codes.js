/**
 * From the codes of a map to weights and to colours.
 *
 * A code is round(255 · √(w / s)): w is the weight and s the head's largest one.
 */

import { LEVELS } from "./palettes.js";

const ROUND = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
const FEW_KEYS = 16;

/**
 * The weight of each code.
 * @param {number} scale the head's largest weight
 */
export function weightsOfCodes(scale) {
  const weights = new Float64Array(256);
  for (let code = 0; code < 256; code++) weights[code] = scale * (code / 255) ** 2;
  return weights;
}

/**
 * The weight of each cell.
 * @param {Uint8Array} codes
 * @param {number} scale the head's largest weight
 */
export function decode(codes, scale) {
  const weights = weightsOfCodes(scale);
  const decoded = new Float64Array(codes.length);
  for (let index = 0; index < codes.length; index++) decoded[index] = weights[codes[index]];
  return decoded;
}

/**
 * The round number at or above the maximum that ends a scale; 1 if it is not positive.
 * @param {number} maximum
 */
export function roundedTop(maximum) {
  if (!(maximum > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(maximum));
  const least = (maximum / power) * (1 - 1e-5);
  return Number(((ROUND.find((round) => round >= least) ?? 10) * power).toPrecision(6));
}

/**
 * Where a map's own scale ends.
 * @param {Uint8Array} codes
 * @param {number} scale the head's largest weight
 * @param {Uint8Array | null} masked
 * @param {number} columns
 */
export function ownTop(codes, scale, masked, columns) {
  return roundedTop(weightsOfCodes(scale)[largestTold(codes, masked, columns)]);
}

/**
 * The largest magnitude that tells something. Queries that see far fewer keys than others do not count:
 * the first query of a causal map has a weight of 1, whatever the model has learnt.
 * @param {Float64Array | Uint8Array} values [rows, columns]
 * @param {Uint8Array | null} masked
 * @param {number} columns
 */
export function largestTold(values, masked, columns) {
  const seen = cellsSeen(values.length / columns, columns, masked);
  const most = Math.max(...seen);
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    const size = Math.abs(values[index]);
    if (!masked?.[index] && size > largest) {
      if (seen[Math.floor(index / columns)] * FEW_KEYS >= most) largest = size;
    }
  }
  return largest;
}

/**
 * @param {number} rows
 * @param {number} columns
 * @param {Uint8Array | null} masked
 */
function cellsSeen(rows, columns, masked) {
  const seen = new Uint32Array(rows).fill(columns);
  masked?.forEach((hidden, index) => (seen[Math.floor(index / columns)] -= hidden));
  return seen;
}

/**
 * The level of a position on the scale, from 0 to 1.
 * @param {number} fraction
 */
function level(fraction) {
  return Math.min(LEVELS - 1, Math.max(0, Math.floor(fraction * LEVELS)));
}

/**
 * The colour of each code, on a scale from 0 to `top`.
 * @param {Uint32Array} colours of the levels
 * @param {number} scale the head's largest weight
 * @param {number} top
 */
export function colourTable(colours, scale, top) {
  const [table, weights, end] = [new Uint32Array(256), weightsOfCodes(scale), Math.sqrt(top)];
  for (let code = 0; code < 256; code++) {
    table[code] = colours[level(Math.sqrt(Math.min(weights[code], top)) / end)];
  }
  return table;
}

/**
 * Colours a map of codes.
 * @param {Uint8Array} codes
 * @param {Uint32Array} table of 256 colours
 * @param {Uint8Array | null} masked
 * @param {number} grey of masked cells
 * @param {Uint32Array} pixels to be filled
 */
export function paintCodes(codes, table, masked, grey, pixels) {
  for (let index = 0; index < codes.length; index++) pixels[index] = table[codes[index]];
  if (!masked) return;
  for (let index = 0; index < codes.length; index++) if (masked[index]) pixels[index] = grey;
}

/**
 * The colour of a change, on a scale from −top to top whose lengths follow square roots.
 * @param {number} change
 * @param {Uint32Array} colours of the levels
 * @param {number} top
 */
export function changeColour(change, colours, top) {
  const end = Math.sqrt(top);
  const place = Math.sign(change) * Math.sqrt(Math.min(Math.abs(change), top));
  return colours[level((place + end) / (2 * end))];
}

/**
 * Colours a map of changes.
 * @param {Float64Array} changes
 * @param {Uint32Array} colours of the levels
 * @param {number} top
 * @param {Uint8Array | null} masked
 * @param {number} grey of masked cells
 * @param {Uint32Array} pixels to be filled
 */
export function paintChanges(changes, colours, top, masked, grey, pixels) {
  for (let index = 0; index < changes.length; index++) {
    pixels[index] = masked?.[index] ? grey : changeColour(changes[index], colours, top);
  }
}
