/** What keys and buttons do. */

import { format } from "../pure/address.js";
import { layerName } from "../pure/history.js";
import { ownTop } from "../pure/codes.js";
import { inside, wholeMap, zoomed } from "../pure/cells.js";
import { current, isPlaying, place, placeNow, runState, shown, spot } from "./store.js";

const PLAY_MS = 150;

/**
 * Looks at something else.
 * @param {Partial<Place>} changes
 */
export function go(changes) {
  for (const [name, value] of Object.entries(changes)) {
    place[/** @type {keyof Place} */ (name)].value = /** @type {never} */ (value);
  }
}

/** Has the address say what is looked at. */
export function writeAddress() {
  history.replaceState(null, "", (location.pathname.split("/").pop() ?? "") + format(placeNow()) || ".");
}

/**
 * Shows another screen; the browser's way back leads here again. A document has all of them on one page.
 * @param {Partial<Place>} changes
 */
export function visit(changes) {
  if (!document.body.dataset.screen) {
    go({ ...changes, screen: place.screen.value });
    return document.querySelector("attn-maps")?.scrollIntoView();
  }
  writeAddress();
  history.pushState(null, "", location.href);
  go(changes);
}

/**
 * Goes so many captures on, or back.
 * @param {number} count
 */
export function stepBy(count) {
  const steps = runState.value?.steps.value ?? [];
  const index = steps.indexOf(current.value?.step ?? NaN);
  if (index < 0) return;
  goToIndex(index + count);
}

/**
 * Goes to a capture by its number, as far as there are captures.
 * @param {number} index
 */
export function goToIndex(index) {
  const steps = runState.value?.steps.value ?? [];
  if (steps.length) go({ step: steps[Math.min(Math.max(index, 0), steps.length - 1)] });
}

/** Shows the newest capture, and each that comes; or stays where it is. */
export function toggleFollow() {
  isPlaying.value = false; // or the next capture of the play would be shown instead
  go({ step: place.step.value === null ? (current.value?.step ?? null) : null });
}

/** Plays from here to the end, from the beginning if this is the end. */
export function togglePlay() {
  isPlaying.value = !isPlaying.value;
  if (!isPlaying.value) return;
  if (current.value === runState.value?.captures.value.at(-1)) goToIndex(0);
  setTimeout(playOn, PLAY_MS);
}

function playOn() {
  if (!isPlaying.value) return;
  stepBy(1);
  if (current.value === runState.value?.captures.value.at(-1)) isPlaying.value = false;
  else setTimeout(playOn, PLAY_MS);
}

/** The layers of the kind that is shown, in their order. */
export function layersShown() {
  const layers = shown.value?.capture.layers ?? [];
  const kind = place.kind.value;
  return kind ? layers.filter(({ stem }) => layerName(stem)?.kind === kind) : layers;
}

/**
 * Goes to another layer.
 * @param {number} count
 */
export function layerBy(count) {
  const stems = layersShown().map(({ stem }) => stem);
  const index = stems.indexOf(place.layer.value ?? shown.value?.layer.stem ?? "");
  if (stems.length) go({ layer: stems[Math.min(Math.max(index + count, 0), stems.length - 1)] });
}

/**
 * Goes to another head: the mean, then each.
 * @param {number} count
 */
export function headBy(count) {
  const stem = place.layer.value ?? shown.value?.layer.stem;
  const layer = shown.value?.capture.layers.find((each) => each.stem === stem);
  const heads = ["mean", ...(layer?.heads.map(String) ?? [])];
  const index = heads.indexOf(place.head.value) + count; // what is asked for may still be loading
  go({ head: heads[Math.min(Math.max(index, 0), heads.length - 1)] });
}

/** Compares with the capture that is shown, until another is chosen. */
export function pin() {
  const step = current.value?.step;
  if (step !== undefined) go({ against: String(step), other: null });
}

/** One colour scale for A and B, then one for each, then the present one for every step. */
export function nextScale() {
  const scale = place.scale.value;
  if (scale === "shared") go({ scale: "own" });
  else if (scale === "own") go({ scale: String(topOf(shown.value)) });
  else go({ scale: "shared" });
}

/**
 * Where the map's own scale ends.
 * @param {Shown | null} map
 */
export function topOf(map) {
  return map ? ownTop(map.codes, map.scale, map.masked, map.layer.columns) : 1;
}

/**
 * Magnifies around the spot that is looked at, or around the middle.
 * @param {number} factor
 */
export function zoomBy(factor) {
  const grid = shown.value?.layer;
  if (!grid) return;
  const part = place.part.value ?? wholeMap(grid);
  const middle = { q: (part.q0 + part.q1) / 2, k: (part.k0 + part.k1) / 2 };
  const at = spot.value ? { q: spot.value.query + 0.5, k: spot.value.key + 0.5 } : middle;
  lookAt(zoomed(part, factor, at));
}

/**
 * Shows this part of the map.
 * @param {Part} part
 */
export function lookAt(part) {
  const grid = shown.value?.layer;
  if (!grid) return;
  const held = inside(part, grid);
  const isWhole = held.q1 - held.q0 >= grid.queries && held.k1 - held.k0 >= grid.keys;
  go({ part: isWhole ? null : held });
}

/**
 * Moves the locked spot by so many cells; locks it first where there is none.
 * @param {number} rows
 * @param {number} columns
 */
export function spotBy(rows, columns) {
  const grid = shown.value?.layer;
  if (!grid) return;
  const [query, key] = spot.value ? [spot.value.query, spot.value.key] : [-1, -1];
  const row = moveIn(Math.floor(query / grid.query_step), rows, grid.rows);
  const column = moveIn(Math.floor(key / grid.key_step), columns, grid.columns);
  spot.value = { query: row * grid.query_step, key: column * grid.key_step, isLocked: true };
}

/** @param {number} cell @param {number} count @param {number} cells */
function moveIn(cell, count, cells) {
  return Math.min(Math.max(cell + count, 0), cells - 1);
}
