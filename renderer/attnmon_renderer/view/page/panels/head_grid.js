/** Layers × heads as thumbnails: what moved? */

import { byChange, changes, layerName } from "../pure/sorting.js";
import { signed } from "../pure/words.js";
import { go, layersShown } from "./actions.js";
import { Panel, button, choice, el } from "./elements.js";
import { cell, layerRow } from "./head_cells.js";
import { getThumbs } from "./server.js";
import { STATISTICS } from "./statistics.js";
import * as store from "./store.js";
import { paintThumb, thumbsOf } from "./thumbnail.js";

/** @typedef {import("../pure/sorting.js").HeadPlace} HeadPlace */
/** @typedef {import("./head_cells.js").Cell} Cell */

const [FAST_MS, REST_MS, LONGEST_MS] = [400, 250, 1000];

class HeadGrid extends Panel {
  /** @type {Map<string, Cell>} */
  cells = new Map();
  drawn = "";
  /** @type {import("../pure/shapes.js").Capture | null} */
  capture = null;
  changedAt = -Infinity;
  isFast = false;
  isLoading = false;
  loadedAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer = undefined;

  build() {
    const bar = el("div", { className: "controls" });
    const grid = el("div", { className: "heads" });
    this.append(bar, grid);
    this.watch(() => bar.replaceChildren(...choices()));
    this.watch(() => this.lay(grid));
    this.watch(() => this.select());
    this.watch(() => this.load());
  }

  /** @param {HTMLElement} grid */
  lay(grid) {
    const layers = layersShown();
    const row = store.runState.value?.row(store.current.value?.step);
    const then = thenRow();
    const places = changes(layers, store.place.statistic.value, row, then);
    const isByChange = store.place.sort.value === "change";
    const ordered = isByChange ? byChange(places) : places;
    const order = JSON.stringify([isByChange, ordered.map(({ stem, head }) => [stem, head])]);
    if (order !== this.drawn) grid.replaceChildren(...this.rows(ordered, isByChange));
    this.drawn = order;
    for (const { stem, head, change } of ordered) this.say(stem, String(head), change);
    grid.classList.toggle("by-change", isByChange);
    this.select();
    this.load();
  }

  /**
   * @param {HeadPlace[]} places
   * @param {boolean} isByChange
   */
  rows(places, isByChange) {
    this.cells = new Map(places.map(({ stem, head }) => [`${stem} ${head}`, cell(stem, String(head))]));
    if (isByChange) return [el("div", { className: "flow" }, ...[...this.cells.values()].map((each) => each.button))];
    const kinds = Map.groupBy(this.cells.values(), ({ stem }) => layerName(stem)?.kind ?? "");
    return [...kinds].flatMap(([kind, cells]) => [
      el("h3", {}, kind),
      ...[...Map.groupBy(cells, ({ stem }) => stem)].map(([stem, own]) => layerRow(stem, own)),
    ]);
  }

  /**
   * @param {string} stem
   * @param {string} head
   * @param {number | null} change
   */
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

  /** At once, but while the steps fly past only now and then: there are many thumbnails. */
  load() {
    const [map, isDark] = [store.shown.value, store.isDark.value];
    void store.place.scale.value;
    clearTimeout(this.timer);
    if (!map) return;
    if (map.capture !== this.capture) {
      this.isFast = this.isLoading || performance.now() - this.changedAt < FAST_MS;
      [this.capture, this.changedAt] = [map.capture, performance.now()];
    }
    const mayWait = this.isFast && performance.now() - this.loadedAt < LONGEST_MS;
    if (mayWait) this.timer = setTimeout(() => this.loadAll(map, isDark), REST_MS);
    else this.loadAll(map, isDark);
  }

  /**
   * @param {store.Shown} map
   * @param {boolean} isDark
   */
  loadAll(map, isDark) {
    this.loadedAt = performance.now();
    const loads = layersShown().map((layer) => this.loadLayer(map, layer, isDark));
    this.isLoading = true;
    void Promise.allSettled(loads).then(() => (this.isLoading = false));
  }

  /**
   * @param {store.Shown} map
   * @param {import("../pure/shapes.js").LayerMaps} layer
   * @param {boolean} isDark
   */
  async loadLayer(map, layer, isDark) {
    const codes = await getThumbs(map.run, map.capture.c, layer.stem);
    if (store.shown.value?.capture !== map.capture) return;
    thumbsOf(layer, codes).forEach((thumb, index) => {
      const made = this.cells.get(`${layer.stem} ${layer.heads[index]}`);
      made?.button.classList.toggle("missing", layer.missing.includes(layer.heads[index]));
      if (made) paintThumb(made.canvas, thumb, isDark);
    });
  }
}

/** The line of the history that the changes are counted from. */
function thenRow() {
  const other = store.against.value;
  return other ? store.stateOf(other.run).row(other.capture.step) : undefined;
}

function choices() {
  const kinds = [...new Set(store.shown.value?.capture.layers.map(({ stem }) => layerName(stem)?.kind ?? ""))];
  const { sort, kind } = store.place;
  /** @type {[string, string][]} */
  const options = [["", "all kinds"], ...kinds.map((each) => /** @type {[string, string]} */ ([each, each]))];
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

customElements.define("attn-heads", HeadGrid);
