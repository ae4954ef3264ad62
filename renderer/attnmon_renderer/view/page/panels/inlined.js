/** Takes the place of `ask.js` in a document, which has the answers in it. */

import { weightsOfCodes } from "../pure/codes.js";

const MOST_LAYERS = 100;

/** @type {Inlined} */
const { answers, captures, texts, masks } = JSON.parse(textOf("answers"));
const packed = textOf("codes");

/** @type {Map<PackedMaps, Promise<Uint8Array<ArrayBuffer>>>} the codes of the last few layers */
const unpacked = new Map();

/** @param {string} id */
function textOf(id) {
  return document.getElementById(id)?.textContent ?? "";
}

/** @param {string} path @returns {Promise<Response>} */
export async function answerTo(path) {
  const [place] = path.split("?");
  const [, , , , stem, head] = place.split("/").map(decodeURIComponent);
  const capture = captures[place.split("/", 4).join("/")];
  if (!capture) return new Response(answers[place], { status: place in answers ? 200 : 404 });
  if (stem === undefined) return new Response(JSON.stringify(readable(capture)));
  const layers = capture.layers.filter((layer) => stem === "all" || layer.stem === stem);
  if (head === "thumbs") return thumbsOf(layers);
  return layers.length ? mapOf(layers[0], head) : new Response(null, { status: 404 });
}

/**
 * A capture with its texts and masks, of which the document has each once.
 * @param {PackedCapture} capture
 * @returns {Capture}
 */
function readable(capture) {
  const layers = capture.layers.map((layer) => ({ ...layer, allowed: masks[layer.mask] ?? "" }));
  return { ...capture, tokens: texts[capture.text] ?? null, layers };
}

/** @param {PackedMaps[]} layers */
async function thumbsOf(layers) {
  const blob = new Blob(await Promise.all(layers.map(codesOf)));
  return answer(await blob.arrayBuffer(), layers.length === 1 ? layers[0].thumbs_shape : [blob.size], 1);
}

/** @param {PackedMaps} layer @param {string} head */
async function mapOf(layer, head) {
  const [cells, codes] = [layer.rows * layer.columns, await codesOf(layer)];
  const index = layer.heads.indexOf(Number(head));
  const { own, scale } =
    head === "mean"
      ? meanOf(layer, codes)
      : { own: codes.subarray(index * cells, (index + 1) * cells), scale: layer.scale[index] };
  return answer(own, [layer.rows, layer.columns], scale);
}

/** @param {BufferSource} codes @param {number[]} shape @param {number} scale */
function answer(codes, shape, scale) {
  return new Response(codes, { headers: { "X-Shape": shape.join(","), "X-Scale": String(scale) } });
}

/**
 * The mean over the heads that were recorded, as codes.
 * @param {PackedMaps} layer
 * @param {Uint8Array<ArrayBuffer>} codes
 */
function meanOf({ heads, missing, scale: scales, rows, columns }, codes) {
  const mean = new Float64Array(rows * columns);
  scales.forEach((scale, head) => {
    const weights = weightsOfCodes(scale / (heads.length - missing.length || 1)); // one that is missing has the scale 0
    for (let cell = 0; cell < mean.length; cell++) mean[cell] += weights[codes[head * mean.length + cell]];
  });
  const scale = mean.reduce((largest, weight) => Math.max(largest, weight), 0);
  return { own: Uint8Array.from(mean, (weight) => Math.round(255 * Math.sqrt(weight / scale))), scale };
}

/** @param {PackedMaps} layer */
function codesOf(layer) {
  const found = unpacked.get(layer) ?? unpack(layer);
  unpacked.delete(layer); // and to the end: what is used stays longest
  unpacked.set(layer, found);
  for (const first of unpacked.keys()) if (unpacked.size > MOST_LAYERS) unpacked.delete(first);
  return found;
}

/**
 * Codes are kept as differences from the row above, which takes a tenth less.
 * @param {PackedMaps} layer
 */
async function unpack({ at, length, heads, rows, columns }) {
  const bytes = Uint8Array.from(atob(packed.substr(at, length)), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const codes = new Uint8Array(await new Response(stream).arrayBuffer());
  const cells = rows * columns;
  for (let head = 0; head < heads.length * cells; head += cells) {
    for (let cell = head + columns; cell < head + cells; cell++) codes[cell] += codes[cell - columns];
  }
  return codes;
}
