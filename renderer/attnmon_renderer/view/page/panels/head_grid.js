/** Layers × heads as thumbnails: what moved? */

import { byChange, changes, layerName } from "../pure/history.js";
import { STATISTICS, signed } from "../pure/words.js";
import { go, layersShown } from "./actions.js";
import { Panel, button, choice, el } from "./elements.js";
import { getCapture, getThumbs, told } from "./server.js";
import * as store from "./store.js";
import { paintSheet, thumbsNow } from "./thumbnail.js";

/** @typedef {{stem: string, head: string, place: HTMLElement, button: HTMLButtonElement, words: HTMLElement}} Cell */

const [FAST_MS, REST_MS, LONGEST_MS] = [400, 250, 500];
const MOST_IN_A_ROW = 16;

class HeadGrid extends Panel {
  /** @type {Map<string, Cell>} */
  cells = new Map();
  drawn = "";
  rows = el("div", {});
  sheet = el("canvas", { className: "sheet", "aria-hidden": "true" });
  /** @type {Capture | null} */
  capture = null;
  /** @type {{now: Thumbs, then: Thumbs | null} | null} */
  loaded = null;
  changedAt = -Infinity;
  isFast = false;
  shownAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer = undefined;

  build() {
    const bar = el("div", { className: "controls" });
    this.append(bar, el("div", { className: "heads" }, this.rows, this.sheet));
    this.fill(bar, choices);
    this.watch(() => this.follow());
    this.watch(() => this.select());
    this.watchSize(this.rows, () => this.paint());
  }

  /** Shows what has changed at once, but while the steps fly past only now and then. */
  follow() {
    const map = store.shown.value;
    const { sort, kind, statistic, scale, view } = store.place;
    void [sort.value, kind.value, statistic.value, scale.value, view.value, store.isDark.value, thenRow()];
    clearTimeout(this.timer);
    this.hidden = !map;
    if (!map) return;
    const now = performance.now();
    if (map.capture !== this.capture) {
      this.isFast = now - this.changedAt < FAST_MS;
      [this.capture, this.changedAt] = [map.capture, now];
    }
    if (this.isFast && now - this.shownAt < LONGEST_MS) this.timer = setTimeout(() => this.show(map), REST_MS);
    else this.show(map);
  }

  /** @param {Shown} map */
  show(map) {
    this.shownAt = performance.now();
    this.lay();
    void told(async () => {
      const [now, then] = await Promise.all([loaded(map.run, map.capture.c), loadedThen()]);
      if (store.shown.value?.capture !== map.capture) return;
      this.loaded = { now, then };
      this.paint();
    });
  }

  lay() {
    const row = store.runState.value?.row(store.current.value?.step);
    const places = changes(layersShown(), store.place.statistic.value, row, thenRow());
    const isByChange = store.place.sort.value === "change";
    const ordered = isByChange ? byChange(places) : places;
    const order = JSON.stringify([isByChange, ordered.map(({ stem, head }) => [stem, head])]);
    if (order !== this.drawn) {
      this.rows.replaceChildren(...this.grid(ordered, isByChange));
      this.select();
    }
    this.drawn = order;
    for (const { stem, head, change } of ordered) this.say(stem, String(head), change);
    this.rows.classList.toggle("by-change", isByChange);
  }

  /** @param {HeadPlace[]} places @param {boolean} isByChange */
  grid(places, isByChange) {
    this.cells = new Map(places.map(({ stem, head }) => [`${stem} ${head}`, cell(stem, String(head))]));
    if (isByChange) return [el("div", { className: "flow" }, ...[...this.cells.values()].map((each) => each.button))];
    const kinds = Map.groupBy(this.cells.values(), ({ stem }) => layerName(stem)?.kind ?? "");
    return [...kinds].flatMap(([kind, cells]) => [
      el("h3", {}, kind),
      ...[...Map.groupBy(cells, ({ stem }) => stem)].map(([stem, own]) => layerRow(stem, own)),
    ]);
  }

  /** @param {string} stem @param {string} head @param {number | null} change */
  say(stem, head, change) {
    const made = this.cells.get(`${stem} ${head}`);
    if (!made) return;
    const name = layerName(stem);
    const moved = change === null ? "" : ` ${signed(change)}`;
    const isByChange = store.place.sort.value === "change";
    const where = `${name?.role === "encoder" ? "enc" : name?.type} ${name?.layer} · h${head}`;
    const words = isByChange ? `${where}${moved}` : `h${head}`;
    if (made.words.textContent !== words) {
      made.words.replaceChildren(...(isByChange ? [where, el("br"), moved] : [words]));
    }
    const what = STATISTICS[store.place.statistic.value] ?? store.place.statistic.value;
    const title = `${name?.kind} layer ${name?.layer}, head ${head}${moved && ` · ${what}${moved}`}`;
    if (made.button.title === title) return;
    made.button.title = title;
    made.button.setAttribute("aria-label", title);
  }

  select() {
    const [stem, head] = [store.stemShown.value, store.headShown.value];
    for (const each of this.cells.values()) {
      const isChosen = each.stem === stem && each.head === head;
      each.button.setAttribute("aria-pressed", String(isChosen));
      each.button.tabIndex = isChosen ? 0 : -1;
    }
    for (const label of this.querySelectorAll("button.mean")) {
      const isChosen = label.getAttribute("data-stem") === stem && head === "mean";
      label.setAttribute("aria-pressed", String(isChosen));
    }
  }

  paint() {
    if (!this.loaded) return;
    const { now, then } = this.loaded;
    paintSheet(this.sheet, now.layers.flatMap((layer) => {
      const { missing } = layer;
      const thumbs = thumbsNow(layer, now, then);
      return layer.heads.flatMap((head, index) => {
        const made = this.cells.get(`${layer.stem} ${head}`);
        if (!made) return [];
        const isMissing = missing.includes(head);
        made.button.classList.toggle("missing", isMissing);
        return [{ thumb: thumbs[index], place: made.place, alpha: isMissing ? 0.35 : 1 }];
      });
    }));
  }
}

/** @param {string} run @param {string} c @returns {Promise<Thumbs>} */
async function loaded(run, c) {
  const [{ layers }, { data }] = await Promise.all([getCapture(run, c), getThumbs(run, c, "all")]);
  return { layers, codes: data };
}

/** The small maps of the capture that is compared with, where differences are looked at. */
async function loadedThen() {
  const other = store.against.value;
  const isWanted = store.place.view.value === "difference" && other?.capture.maps;
  return isWanted ? loaded(other.run, other.capture.c).catch(() => null) : null; // who shows the map says why
}

/** The line of the history that the changes are counted from. */
function thenRow() {
  const other = store.against.value;
  return other ? store.stateOf(other.run).row(other.capture.step) : undefined;
}

function choices() {
  const kinds = [...new Set(store.layout.value.map(({ stem }) => layerName(stem)?.kind ?? ""))];
  const { sort, kind } = store.place;
  const options = [["", "all kinds"], ...kinds.map((each) => [each, each])];
  const then = store.against.value;
  const words = sort.value === "change" && then ? `since step ${then.capture.step}` : "";
  return [
    el("h2", {}, "Heads"),
    kinds.length > 1 ? choice("kind of layers", options, kind.value, (value) => go({ kind: value })) : "",
    button("by layer", "order by layer (s)", () => go({ sort: "layer" }), sort.value === "layer"),
    button("by change", "what changed most first (s)", () => go({ sort: "change" }), sort.value === "change"),
    el("span", { className: "faint" }, words),
  ];
}

/**
 * A layer: the mean of its heads, and each of them.
 * @param {string} stem
 * @param {Cell[]} cells
 */
function layerRow(stem, cells) {
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
function cell(stem, head) {
  const place = el("i", {});
  const words = el("span", {});
  const made = button("", "", () => go({ layer: stem, head }), false);
  made.className = "thumb";
  made.replaceChildren(place, words);
  return { stem, head, place, button: made, words };
}

customElements.define("attn-heads", HeadGrid);
