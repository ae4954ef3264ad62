/** A small map, which is painted again when its codes change. */

import { pooledMask } from "../pure/cells.js";
import { colourTable, ownTop, paintCodes } from "../pure/codes.js";
import { MASKED, WEIGHT_COLOURS } from "../pure/palettes.js";
import { maskOf } from "./map_loader.js";
import { place } from "./store.js";

/** @typedef {import("../pure/shapes.js").LayerMaps} LayerMaps */
/** @typedef {import("../pure/shapes.js").Codes} Codes */
/** @typedef {{codes: Uint8Array, scale: number, top: number, masked: Uint8Array | null, shape: [number, number]}} Thumb */

/**
 * The thumbnails of a layer's heads. They share a scale, unless each is to have its own.
 * @param {LayerMaps} layer
 * @param {Codes} codes
 * @returns {Thumb[]}
 */
export function thumbsOf(layer, codes) {
  const [, rows, columns] = codes.shape;
  const thumbs = layer.heads.map((_, index) => {
    const masked = pooledMask(maskOf(layer, index), layer, rows, columns);
    const own = codes.data.subarray(index * rows * columns, (index + 1) * rows * columns);
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
 * @param {HTMLCanvasElement} canvas
 * @param {Thumb} thumb
 * @param {boolean} isDark
 */
export function paintThumb(canvas, { codes, scale, top, masked, shape: [rows, columns] }, isDark) {
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const grey = isDark ? MASKED.dark : MASKED.light;
  paintCodes(codes, colourTable(WEIGHT_COLOURS, scale, top), masked, grey, pixels);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}
