/** The keyboard: everything that can be done with a pointer. */

import * as actions from "./actions.js";
import { button, el } from "./elements.js";
import { place, runState, spot } from "./store.js";

/** Keys as they are shown, what they do, and the work for each. */
/** @type {[string, string, Record<string, () => void>][]} */
const KEYS = [
  ["← →", "the capture before, the next (with shift: ten)", {
    ArrowLeft: () => actions.stepBy(-1),
    ArrowRight: () => actions.stepBy(1),
    "shift+ArrowLeft": () => actions.stepBy(-10),
    "shift+ArrowRight": () => actions.stepBy(10),
  }],
  ["home end", "the first capture, the last", {
    Home: () => actions.goToIndex(0),
    End: () => actions.goToIndex(Infinity),
  }],
  ["space", "play, stop", { " ": actions.togglePlay }],
  ["l", "follow the newest capture", { l: actions.toggleFollow }],
  ["j k", "the next layer, the one before", {
    j: () => actions.layerBy(1),
    k: () => actions.layerBy(-1),
  }],
  ["[ ]", "the head before, the next; the first is the mean", {
    "[": () => actions.headBy(-1),
    "]": () => actions.headBy(1),
  }],
  ["d", "one map; A, B and their difference; the difference alone", { d: nextView }],
  ["p", "compare with this capture from now on", { p: actions.pin }],
  ["s", "heads by layer, by change", { s: nextSort }],
  ["c", "colours: one scale, each its own, held", { c: actions.nextScale }],
  ["+ − 0", "magnify, shrink, the whole map", {
    "+": () => actions.zoomBy(1.5),
    "=": () => actions.zoomBy(1.5),
    "-": () => actions.zoomBy(1 / 1.5),
    0: () => actions.go({ part: null }),
  }],
  ["alt + w a s d", "the cell above, left, below, right: its row, its value", {
    "alt+w": () => actions.spotBy(-1, 0),
    "alt+a": () => actions.spotBy(0, -1),
    "alt+s": () => actions.spotBy(1, 0),
    "alt+d": () => actions.spotBy(0, 1),
  }],
  ["f", "the map alone, large", { f: () => actions.go({ full: !place.full.value }) }],
  ["1 2 3 4", "maps, compare, run, runs", {
    1: () => actions.visit({ screen: "live" }),
    2: () => actions.visit({ screen: "compare" }),
    3: () => actions.visit({ screen: "run" }),
    4: () => actions.visit({ screen: "runs" }),
  }],
  ["esc", "let go of the cell, leave the large map", { Escape: leave }],
  ["?", "this list", { "?": showKeys }],
];

const work = Object.assign({}, ...KEYS.map(([, , keys]) => keys));

/**
 * Listens from now on.
 * @param {GlobalEventHandlers} where
 */
export function listenToKeys(where) {
  where.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || isTyping(event)) return;
    const action = work[named(event)];
    if (!action || !runState.value) return;
    event.preventDefault();
    action();
  });
}

/** @param {KeyboardEvent} event */
function named({ key, altKey, shiftKey }) {
  const shift = shiftKey && key.startsWith("Arrow") ? "shift+" : "";
  return `${altKey ? "alt+" : ""}${shift}${key}`;
}

/**
 * Whether the element that has the focus needs the key itself.
 * @param {KeyboardEvent} event
 */
function isTyping({ target, key }) {
  if (!(target instanceof Element)) return false;
  if (target.closest("dialog, select, input, textarea")) return true;
  return key === " " && target.closest("button, a, summary") !== null;
}

function nextView() {
  const views = /** @type {const} */ (["map", "both", "difference"]);
  actions.go({ view: views[(views.indexOf(place.view.value) + 1) % views.length] });
}

function nextSort() {
  actions.go({ sort: place.sort.value === "layer" ? "change" : "layer" });
}

function leave() {
  if (spot.value) spot.value = null;
  else actions.go({ full: false });
}

/** Shows the list of keys. */
export function showKeys() {
  const rows = KEYS.map(([keys, words]) => el("tr", {}, el("th", {}, keys), el("td", {}, words)));
  const dialog = el("dialog", { "aria-label": "keys", onclose: () => dialog.remove() });
  const close = button("close", "close (esc)", () => dialog.close());
  dialog.append(el("h2", {}, "Keys"), el("table", {}, el("tbody", {}, ...rows)), close);
  document.body.append(dialog);
  dialog.showModal();
}
