/** The thumbnails' buttons, in their rows. */

import { layerName } from "../pure/sorting.js";
import { go } from "./actions.js";
import { button, el } from "./elements.js";

/** @typedef {{stem: string, head: string, place: HTMLElement, button: HTMLButtonElement, words: HTMLElement}} Cell */

const MOST_IN_A_ROW = 16;

/**
 * A layer: the mean of its heads, and each of them.
 * @param {string} stem
 * @param {Cell[]} cells
 */
export function layerRow(stem, cells) {
  const name = layerName(stem);
  const title = `mean of the heads of ${name?.kind} layer ${name?.layer}`;
  const label = button(`L${name?.layer}`, title, () => go({ layer: stem, head: "mean" }), false);
  label.className = "mean";
  label.dataset.stem = stem;
  const thumbs = el("div", { className: "thumbs" }, ...cells.map((each) => each.button));
  thumbs.style.setProperty("--heads", String(Math.min(MOST_IN_A_ROW, Math.max(6, cells.length))));
  return el("div", { className: "layer" }, label, thumbs);
}

/**
 * A head: its thumbnail and its number.
 * @param {string} stem
 * @param {string} head
 * @returns {Cell}
 */
export function cell(stem, head) {
  const place = el("i", {});
  const words = el("span", {});
  const made = button("", "", () => go({ layer: stem, head }), false);
  made.className = "thumb";
  made.replaceChildren(place, words);
  return { stem, head, place, button: made, words };
}
