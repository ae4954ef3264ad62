/** Beside a map: how much each key is attended to, and which key each query attends to most. */

import { span } from "../pure/cells.js";
import { short, tokensAt } from "../pure/words.js";
import { cut } from "./map_frame.js";

/** @typedef {import("./map_frame.js").MapFrame} MapFrame */

const LEAST_WIDTH = 340;
const [BARS, LABELS, LEAST_TEXT] = [34, 80, 10];

/**
 * The room that they take on the right and below; none where it would be the map's.
 * @param {Content} content
 * @param {number} width of the canvas
 */
export function marginalRoom({ isChange, map }, width) {
  return isChange || !map.received || width < LEAST_WIDTH ? { right: 0, bottom: 0 } : { right: LABELS, bottom: BARS + 16 };
}

/**
 * @param {CanvasRenderingContext2D} pen in the colour of texts
 * @param {MapFrame} frame
 * @param {Content} content
 * @param {(text: string) => number} measure
 */
export function paintMarginals(pen, frame, { map }, measure) {
  const { left, top, width, height } = frame.box;
  const { received, layer } = map;
  if (!received || !frame.room.right) return;
  const most = Math.max(...received);
  pen.save();
  pen.textAlign = "left";
  pen.globalAlpha = 0.65;
  pen.fillText("strongest key", left + width + 6, Math.max(8, top - 8));
  pen.fillText(`received by each key, at most ${short(most)}`, left, top + height + BARS + 10);
  pen.beginPath();
  pen.rect(left, top, width + LABELS, height + BARS + 2);
  pen.clip();
  received.forEach((share, column) => {
    const x = frame.x(column * layer.key_step);
    const end = frame.x(Math.min((column + 1) * layer.key_step, layer.keys));
    if (end > left && x < left + width) pen.fillRect(x, top + height + 2, Math.max(0.5, Math.min(end, left + width) - x - 0.5), (share / most) * BARS || 0);
  });
  pen.globalAlpha = 1;
  for (let row = 0; row < layer.rows; row++) strongest(pen, frame, map, row, measure);
  pen.restore();
}

/**
 * The token of a row's strongest key, or where rows are narrow a dot as far to the right as the key is.
 * @param {CanvasRenderingContext2D} pen
 * @param {MapFrame} frame
 * @param {Shown} map
 * @param {number} row
 * @param {(text: string) => number} measure
 */
function strongest(pen, frame, map, row, measure) {
  const key = strongestKey(map, row);
  const start = frame.y(row * map.layer.query_step);
  const room = frame.perQuery * map.layer.query_step;
  const left = frame.box.left + frame.box.width + 6;
  const { top, height } = frame.box;
  if (key === null || start + room / 2 < top || start + room / 2 > top + height) return;
  const text = tokensAt(frame.tokens.keys, [key, key]);
  if (room >= LEAST_TEXT) pen.fillText(cut(text || String(key), measure, LABELS - 8), left, start + room / 2);
  else pen.fillRect(left + (key / map.layer.keys) * (LABELS - 12), start + room / 2 - 1, 2.5, Math.max(1.5, room));
}

/**
 * The position of the key that a row of cells attends to most: as it was recorded, or the first of the
 * largest cell. Null where nothing is attended to.
 * @param {Shown} map
 * @param {number} row
 */
export function strongestKey({ layer, weights, strongest }, row) {
  const own = weights.subarray(row * layer.columns, (row + 1) * layer.columns);
  const largest = Math.max(...own);
  if (!(largest > 0)) return null;
  const known = strongest?.[row] ?? -1;
  return known >= 0 && known < layer.keys ? known : span(own.indexOf(largest), layer.key_step, layer.keys)[0];
}
