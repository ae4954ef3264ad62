/** Loads the maps that are looked at. */

import { maskedCells } from "../pure/cells.js";
import { decode } from "../pure/codes.js";
import { Refused, getCapture, getMap, getRun, told } from "./server.js";
import * as store from "./store.js";

/** @typedef {{run: string, capture: CaptureLine, layer: string | null, head: string}} Wish */

const AHEAD = 2;

/** @type {Wish | null} */
let wished = null;
let isLoading = false;
let lastIndex = 0;

/** Loads the map. While one is on its way, only the last that is wished for waits: others are past. */
export function loadShown() {
  const [run, capture] = [store.runId.value, store.current.value];
  const [layer, head] = [store.place.layer.value, store.place.head.value];
  wished = run !== null && capture?.maps ? { run, capture, layer, head } : null;
  if (!wished) store.shown.value = null;
  else if (!isLoading) void loadWished();
}

async function loadWished() {
  isLoading = true;
  /** @type {Wish | null} */
  let done = null;
  while (wished && wished !== done) {
    const wish = (done = wished);
    const map = await told(() => loadMap(wish.run, wish.capture, wish.layer, wish.head).catch((error) => leaveOut(wish, error)));
    if (map !== undefined && wished?.run === wish.run) store.shown.value = map;
    if (wished === wish) loadAhead(wish);
  }
  isLoading = false;
}

/**
 * Reads again which captures there are, if this one is gone: a `disk_budget` thins them.
 * @param {Wish} wish
 * @param {unknown} error
 * @returns {Promise<undefined>}
 */
async function leaveOut({ run, capture }, error) {
  if (!(error instanceof Refused && error.status === 404)) throw error;
  const facts = await getRun(run, null);
  if (facts.captures.some(({ c }) => c === capture.c)) throw error;
  store.stateOf(run).facts.value = facts;
}

/**
 * Loads what comes next, if steps go on as they went.
 * @param {Wish} wish
 */
function loadAhead({ run, capture, layer, head }) {
  const captures = store.stateOf(run).captures.value;
  const index = captures.indexOf(capture);
  const stride = index - lastIndex;
  lastIndex = index;
  for (let next = 1; stride && next <= AHEAD; next++) {
    const line = captures[index + next * stride];
    if (!line?.maps) return;
    loadMap(run, line, layer, head).catch(() => null); // said when it is looked at
  }
}

let besideAsked = 0;

/** Loads the map to compare with, if one is to be. */
export function loadBeside() {
  const here = store.shown.value;
  const other = store.against.value;
  const isWanted = store.place.view.value !== "map";
  const number = ++besideAsked;
  if (!here || !other || !isWanted || !other.capture.maps) {
    store.beside.value = null;
    store.besideMissing.value = missing(other);
    return;
  }
  const head = partnerOf(here);
  void told(async () => {
    const map = await loadMap(other.run, other.capture, here.layer.stem, head);
    if (number !== besideAsked) return;
    const isSame = map?.layer.stem === here.layer.stem && map.head === head;
    store.beside.value = isSame ? map : null;
    store.besideMissing.value = isSame ? "" : "the other capture has no map of this layer and head";
  });
}

/**
 * The head of the other run that is shown beside.
 * @param {Shown} here
 */
function partnerOf({ layer, head }) {
  const [stem, own, partner] = store.place.partner.value?.split(":") ?? [];
  const isMatched = store.place.other.value !== null && stem === layer.stem && own === head;
  return isMatched ? partner : head;
}

/** @param {{capture: CaptureLine} | null} other */
function missing(other) {
  if (!other) return "there is no other capture to compare with";
  return other.capture.maps ? "" : "the other capture has no maps";
}

/**
 * Loads a map: of the layer and head if they are there, or of what is nearest to them.
 * @param {string} run
 * @param {CaptureLine} line
 * @param {string | null} stem
 * @param {string} head
 * @returns {Promise<Shown | null>}
 */
async function loadMap(run, line, stem, head) {
  const early = isLikely(stem, head) ? getMap(run, line.c, stem, head).catch(() => null) : null;
  const capture = await getCapture(run, line.c);
  const layer = capture.layers.find((each) => each.stem === stem) ?? firstChoice(capture.layers);
  if (!layer) return null;
  const found = layer.heads.includes(Number(head)) ? head : "mean";
  const isEarly = layer.stem === stem && found === head;
  const codes = (isEarly && (await early)) || (await getMap(run, line.c, layer.stem, found));
  const masked = maskOf(layer, layer.heads.indexOf(Number(found)));
  const weights = decode(codes.data, codes.scale);
  const { data, scale, received, strongest } = codes;
  return { run, capture, layer, head: found, codes: data, scale, weights, masked, received, strongest };
}

/**
 * Whether this map is likely to be there: it was in the last capture.
 * @param {string | null} stem
 * @param {string} head
 * @returns {stem is string}
 */
function isLikely(stem, head) {
  const last = store.shown.held; // not read as a signal: what it leads to is not loaded again
  const layer = last?.capture.layers.find((each) => each.stem === stem);
  return layer !== undefined && (head === "mean" || layer.heads.includes(Number(head)));
}

/**
 * The layer to begin with: the last with cross-attention, or the first.
 * @param {LayerMaps[]} layers
 */
function firstChoice(layers) {
  return layers.filter(({ stem }) => stem.includes("cross")).at(-1) ?? layers[0];
}

/**
 * The cells of a head that are grey: those that are masked, or all if nothing was recorded of it.
 * @param {LayerMaps} layer
 * @param {number} index of the head; −1 is the mean of all
 */
export function maskOf(layer, index) {
  if (layer.missing.includes(layer.heads[index])) {
    return new Uint8Array(layer.rows * layer.columns).fill(1);
  }
  if (!layer.allowed) return maskedCells(layer, null, index);
  const data = Uint8Array.from(atob(layer.allowed), (character) => character.charCodeAt(0));
  return maskedCells(layer, { data, shape: layer.allowed_shape }, index);
}
