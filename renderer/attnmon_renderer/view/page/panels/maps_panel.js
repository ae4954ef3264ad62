/** The map that is looked at: alone, or A, B and their difference. */

import { CHANGE_COLOURS, LEVELS, WEIGHT_COLOURS, css, maskedGrey } from "../pure/codes.js";
import { layerName } from "../pure/history.js";
import { short, whole } from "../pure/words.js";
import { go, topOf, zoomBy } from "./actions.js";
import { cellWords, changeContent, headOf, textsApart, titleOf, unlike, weightContent } from "./content.js";
import { Panel, button, choice, el } from "./elements.js";
import { MapCanvas } from "./map_canvas.js";
import * as store from "./store.js";

/** @typedef {{box: HTMLElement, canvas: MapCanvas, title: HTMLElement, bar: ColourBar}} Slot */

class MapsPanel extends Panel {
  slots = ["A", "B", "change"].map(slot);
  note = el("p", { className: "note", role: "note" });
  maps = el("div", { className: "maps" }, ...this.slots.map(({ box }) => box));

  build() {
    const bar = el("div", { className: "controls" });
    const facts = document.createElement("attn-facts");
    this.append(bar, el("div", { className: "beside" }, this.maps, facts), this.note);
    this.fill(bar, choices);
    this.watch(() => this.show());
  }

  show() {
    const map = store.shown.value;
    this.hidden = !map;
    if (!map) return;
    const contents = contentsOf(map, store.pair.value);
    this.maps.dataset.count = String(contents.filter(Boolean).length);
    this.slots.forEach((each, index) => put(each, contents[index]));
    this.note.textContent = [
      cellWords(map.layer),
      ...notes(store.pair.value),
      ...(map.capture.damages ?? []),
    ].join(" · ");
  }
}

/**
 * A, B and the difference; null for what is not shown.
 * @param {Shown} map
 * @param {Pair | null} pair
 * @returns {(Content | null)[]}
 */
function contentsOf(map, pair) {
  const [view, isDark] = [store.place.view.value, store.isDark.value];
  if (!pair) return [weightContent(map, tops([map])[0], isDark, titleOf(map)), null, null];
  const { a, b } = pair;
  const [whoA, whoB] = [a, b].map((map) => apart(a, b, map));
  const words = view === "difference" ? `${headOf(a)} · B (${whoB}) − A (${whoA})` : "B − A";
  const change = unlike(a, b) ? null : changeContent(a, b, isDark, `${words}: red where B attends more`);
  if (view === "difference" && change) return [null, null, change];
  const [topA, topB] = tops([a, b]);
  return [weightContent(a, topA, isDark, `A · ${whoA}`), weightContent(b, topB, isDark, `B · ${whoB}`), change];
}

/**
 * Where the scales of maps end that are side by side.
 * @param {Shown[]} maps
 */
function tops(maps) {
  const scale = store.place.scale.value;
  const own = maps.map(topOf);
  if (scale === "own") return own;
  return own.map(() => (scale === "shared" ? Math.max(...own) : Number(scale)));
}

/**
 * What tells A and B apart: the step, or the run and its step.
 * @param {Shown} a
 * @param {Shown} b
 * @param {Shown} map
 */
function apart(a, b, map) {
  const run = store.runs.value?.find(({ id }) => id === map.run)?.title ?? map.run;
  const step = `step ${whole(map.capture.step)}`;
  const head = a.head === b.head ? "" : ` · head ${map.head}`;
  return a.run === b.run ? step : `${run}${head} · ${step}`;
}

/** @param {Pair | null} pair */
function notes(pair) {
  if (store.place.view.value === "map") return [];
  if (!pair) return [store.besideMissing.value].filter(Boolean);
  return [unlike(pair.a, pair.b), textsApart(pair.a, pair.b)].filter(Boolean);
}

/** @param {Slot} slot @param {Content | null} content */
function put({ box, canvas, title, bar }, content) {
  box.hidden = !content;
  canvas.content.value = content;
  title.textContent = content?.title ?? "";
  if (content) bar.show(content);
}

/** @param {string} name */
function slot(name) {
  const [canvas, bar, title] = [new MapCanvas(), new ColourBar(), el("h3", {})];
  canvas.tabIndex = 0;
  canvas.dataset.map = name;
  const box = el("section", { className: "slot", hidden: true }, title, canvas, bar);
  return { box, canvas, title, bar };
}

function choices() {
  const { view, scale, full, other, tied } = store.place;
  const views = /** @type {const} */ ([["map", "map"], ["both", "A | B | B−A"], ["difference", "B−A"]]);
  const isHeld = !["shared", "own"].includes(scale.value);
  return [
    ...picks(),
    el("span", { className: "group" }, ...views.map(([value, text]) => button(text, `show ${text} (d)`, () => go({ view: value }), view.value === value))),
    choice("colour scale", [["shared", "√ one scale"], ["own", "√ each its own"], ["held", isHeld ? `√ held at ${scale.value}` : "√ held as now"]], isHeld ? "held" : scale.value, chooseScale),
    el("span", { className: "group" }, button("+", "magnify (+)", () => zoomBy(1.5)), button("−", "shrink (−)", () => zoomBy(1 / 1.5)), button("whole", "the whole map (0)", () => go({ part: null }))),
    other.value !== null && button("tied", "the other run follows the step", () => go({ tied: !tied.value }), tied.value),
    button("⤢", "the map alone, large (f)", () => go({ full: !full.value }), full.value),
  ];
}

/** @param {string} scale */
function chooseScale(scale) {
  go({ scale: scale === "held" ? String(topOf(store.shown.value)) : scale });
}

/** The layer and the head, to be chosen. */
function picks() {
  const [layout, stem, head] = [store.layout.value, store.stemShown.value, store.headShown.value];
  const layer = layout.find((each) => each.stem === stem);
  if (!layer) return [];
  const layers = layout.map(({ stem }) => [stem, `${layerName(stem)?.kind} ${layerName(stem)?.layer}`]);
  const heads = [["mean", "mean"], ...layer.heads.map((head) => [String(head), `head ${head}`])];
  return [
    choice("layer", layers, layer.stem, (layer) => go({ layer })),
    choice("head", heads, head, (head) => go({ head })),
  ];
}

class ColourBar extends HTMLElement {
  levels = el("canvas", { width: LEVELS, height: 1, "aria-hidden": "true" });
  low = el("span");
  middle = el("span");
  high = el("span");
  masked = el("span", { className: "masked" });

  connectedCallback() {
    this.replaceChildren(this.low, this.levels, this.high, this.masked);
  }

  /** @param {Content} content */
  show({ top, isChange, masked, map: { layer } }) {
    const colours = isChange ? CHANGE_COLOURS : WEIGHT_COLOURS;
    const image = new ImageData(LEVELS, 1);
    new Uint32Array(image.data.buffer).set(colours);
    this.levels.getContext("2d")?.putImageData(image, 0, 0);
    const unit = layer.key_step > 1 ? `weight of ${layer.key_step} keys` : "weight";
    this.low.textContent = isChange ? `−${short(top)}` : "0";
    this.high.textContent = `${isChange ? "+" : ""}${short(top)} ${unit} (√ scale)`;
    const swatch = el("i");
    swatch.style.background = css(maskedGrey(store.isDark.value, isChange));
    this.masked.replaceChildren(...(masked ? [swatch, "masked"] : []));
  }
}

/** The heads, and beside them a map with what is known of it. */
class Looks extends HTMLElement {
  connectedCallback() {
    const [heads, ...others] = ["heads", "maps", "tokens", "film"].map((name) => document.createElement(`attn-${name}`));
    this.replaceChildren(heads, el("div", { className: "look" }, ...others));
  }
}

customElements.define("attn-looks", Looks);
customElements.define("attn-bar", ColourBar);
customElements.define("attn-maps", MapsPanel);  // it has the other in it
