/** Small maps, which are painted again when their codes change. */

import { pooledMask } from "../pure/cells.js";
import { WEIGHT_COLOURS, colourTable, maskedGrey, ownTop, paintCodes } from "../pure/codes.js";
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
function fill({ codes, scale, top, masked }, pixels) {
  paintCodes(codes, colourTable(WEIGHT_COLOURS, scale, top), masked, maskedGrey(isDark.value), pixels);
}
