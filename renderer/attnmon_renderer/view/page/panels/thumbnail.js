/** Small maps, which are painted again when their codes change. */

import { pooledMask } from "../pure/cells.js";
import { CHANGE_COLOURS, WEIGHT_COLOURS, colourTable, decode, largestTold, maskedGrey, ownTop, paintChanges, paintCodes, roundedTop } from "../pure/codes.js";
import { difference } from "../pure/distance.js";
import { maskOf } from "./map_loader.js";
import { isDark, place } from "./store.js";

const MOST_FINE = 2;

/**
 * The thumbnails of a layer's heads. They share a scale, unless each is to have its own.
 * @param {LayerMaps} layer
 * @param {Uint8Array} codes
 * @returns {Thumb[]}
 */
export function thumbsOf(layer, codes) {
  const [, rows, columns] = layer.thumbs_shape;
  const thumbs = layer.heads.map((_, index) => {
    const masked = pooledMask(maskOf(layer, index), layer, rows, columns);
    const own = codes.subarray(index * rows * columns, (index + 1) * rows * columns);
    const scale = layer.scale[index] ?? 1;
    const top = ownTop(own, scale, masked, columns);
    return { codes: own, scale, top, masked, shape: /** @type {[number, number]} */ ([rows, columns]) };
  });
  const scale = place.scale.value;
  if (scale === "own") return thumbs;
  const top = scale === "shared" ? Math.max(...thumbs.map((thumb) => thumb.top)) : Number(scale);
  return thumbs.map((thumb) => ({ ...thumb, top }));
}

/**
 * The thumbnails of a layer: of the change, where it is looked at and both have the same cells.
 * @param {LayerMaps} layer
 * @param {Thumbs} now
 * @param {Thumbs | null} then
 */
export function thumbsNow(layer, now, then) {
  const form = (/** @type {LayerMaps} */ { stem, heads, thumbs_shape: shape, query_step, key_step }) => String([stem, heads, shape, query_step, key_step]);
  const other = then?.layers.find((each) => form(each) === form(layer));
  const own = thumbsIn(now, layer);
  if (!then || !other) return own;
  const before = thumbsIn(then, other);
  return place.other.value === null ? changeThumbs(before, own) : changeThumbs(own, before);
}

/** @param {Thumbs} thumbs @param {LayerMaps} layer */
function thumbsIn({ codes }, layer) {
  const [heads, rows, columns] = layer.thumbs_shape;
  return thumbsOf(layer, codes.subarray(layer.thumbs_at, layer.thumbs_at + heads * rows * columns));
}

/**
 * The thumbnails of B − A, for the same heads of a layer.
 * @param {Thumb[]} a
 * @param {Thumb[]} b
 * @returns {Thumb[]}
 */
function changeThumbs(a, b) {
  const thumbs = b.map((thumb, index) => {
    const [before, after] = [a[index], thumb].map(({ codes, scale }) => decode(codes, scale));
    const changes = difference(before, after);
    return { ...thumb, changes, top: roundedTop(largestTold(changes, thumb.masked, thumb.shape[1])) };
  });
  if (place.scale.value === "own") return thumbs;
  const top = Math.max(...thumbs.map((thumb) => thumb.top));
  return thumbs.map((thumb) => ({ ...thumb, top }));
}

/**
 * The mean of a layer's heads, whose map is its thumbnail.
 * @param {LayerMaps} layer
 * @param {Codes} codes
 * @returns {Thumb}
 */
export function meanThumb(layer, { data: codes, scale }) {
  const masked = maskOf(layer, -1);
  const held = Number(place.scale.value);
  const own = ownTop(codes, scale, masked, layer.columns);
  return { codes, scale, top: held > 0 ? held : own, masked, shape: [layer.rows, layer.columns] };
}

/**
 * A thumbnail on a canvas of its own.
 * @param {HTMLCanvasElement} canvas
 * @param {Thumb} thumb
 */
export function paintThumb(canvas, thumb) {
  const [rows, columns] = thumb.shape;
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== rows) canvas.height = rows;
  const image = new ImageData(columns, rows);
  fill(thumb, new Uint32Array(image.data.buffer));
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/**
 * Many thumbnails on one canvas that lies over their places: a canvas for each would be a layer to be
 * put together at every frame.
 * @param {HTMLCanvasElement} sheet as large as the element before it
 * @param {{thumb: Thumb, place: Element, alpha: number}[]} items
 */
export function paintSheet(sheet, items) {
  const below = /** @type {Element} */ (sheet.previousElementSibling);
  const { left, top, width, height } = below.getBoundingClientRect();
  const pen = sheet.getContext("2d");
  if (!pen || !width) return;
  const places = items.map(({ place }) => place.getBoundingClientRect());
  const fine = Math.min(MOST_FINE, devicePixelRatio);
  [sheet.width, sheet.height] = [Math.ceil(width * fine), Math.ceil(height * fine)];
  sheet.style.width = `${sheet.width / fine}px`;
  pen.scale(fine, fine);
  pen.imageSmoothingEnabled = false;
  const { canvas, sources } = together(items.map(({ thumb }) => thumb));
  items.forEach(({ thumb: { shape: [rows, columns] }, alpha }, index) => {
    const { x, y, width: across, height: down } = places[index];
    pen.globalAlpha = alpha;
    pen.drawImage(canvas, ...sources[index], columns, rows, x - left, y - top, across, down);
  });
}

/**
 * All thumbnails in one image, and where each begins in it.
 * @param {Thumb[]} thumbs
 */
function together(thumbs) {
  const side = Math.max(1, ...thumbs.flatMap(({ shape }) => shape));
  const across = Math.ceil(Math.sqrt(thumbs.length)) || 1;
  const width = across * side;
  const image = new ImageData(width, (Math.ceil(thumbs.length / across) || 1) * side);
  const pixels = new Uint32Array(image.data.buffer);
  const sources = thumbs.map((thumb, index) => {
    const [rows, columns] = thumb.shape;
    const [x, y] = [(index % across) * side, Math.floor(index / across) * side];
    const own = new Uint32Array(rows * columns);
    fill(thumb, own);
    for (let row = 0; row < rows; row++) {
      pixels.set(own.subarray(row * columns, (row + 1) * columns), (y + row) * width + x);
    }
    return /** @type {[number, number]} */ ([x, y]);
  });
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return { canvas, sources };
}

/** @param {Thumb} thumb @param {Uint32Array} pixels to be filled */
function fill({ codes, scale, top, masked, changes }, pixels) {
  if (changes) paintChanges(changes, CHANGE_COLOURS, top, masked, maskedGrey(isDark.value, true), pixels);
  else paintCodes(codes, colourTable(WEIGHT_COLOURS, scale, top), masked, maskedGrey(isDark.value), pixels);
}
