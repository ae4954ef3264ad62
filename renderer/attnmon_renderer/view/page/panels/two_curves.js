/** The losses of two runs, over the same steps. */

import { extent, path, scale, thinned, ticks } from "../pure/curves.js";
import { Signal } from "../pure/signals.js";
import { short, whole } from "../pure/words.js";
import { Panel, el, svg, svgText } from "./elements.js";
import { otherState, place, runState } from "./store.js";

/** @typedef {import("../pure/history.js").HistoryRow} HistoryRow */

const [LEFT, RIGHT, TOP, HEIGHT, FOOT] = [52, 14, 6, 150, 20];

class TwoCurves extends Panel {
  width = new Signal(0);

  build() {
    const body = el("div", {});
    this.append(body);
    this.className = "card wide";
    this.watchWidth((width) => (this.width.value = width));
    this.watch(() => body.replaceChildren(...this.curves()));
  }

  curves() {
    if (place.screen.value !== "compare") return [];
    const runs = [runState.value, otherState.value].map((state) => state?.rows.value ?? []);
    const losses = runs.flat().filter(({ loss }) => loss !== null);
    if (!losses.length || !this.width.value) return [];
    const legend = el("p", { className: "legend" }, el("span", { className: "a" }, "A"), " and ", el("span", { className: "b" }, "B"));
    return [el("h2", {}, "Loss"), legend, this.drawing(runs)];
  }

  /** @param {HistoryRow[][]} runs */
  drawing(runs) {
    const width = this.width.value - 26;
    const ends = extent(runs.flat().map(({ loss }) => loss));
    const [first, last] = extent(runs.flat().map(({ step }) => step));
    const x = scale(first, last, LEFT, width - RIGHT);
    const y = scale(ends[0], ends[1], TOP + HEIGHT - 4, TOP + 4);
    const paths = runs.map((rows, index) => {
      const points = rows.map(({ step, loss }) => ({ x: x(step), y: loss === null ? null : y(loss) }));
      return svg("path", { class: `curve ${"ab"[index]}`, d: path(thinned(points)) });
    });
    const frame = svg("rect", { class: "frame", x: LEFT, y: TOP, width: width - LEFT - RIGHT, height: HEIGHT });
    const down = ticks(...ends, 4).map((value) => svgText("tick", LEFT - 6, y(value) + 4, "end", short(value)));
    const along = ticks(first, last, width / 110).filter(Number.isInteger).map((step) => svgText("tick", x(step), TOP + HEIGHT + 15, "middle", whole(step)));
    const height = TOP + HEIGHT + FOOT;
    return svg("svg", { class: "curves", viewBox: `0 0 ${width} ${height}`, height }, frame, ...paths, ...down, ...along);
  }
}

customElements.define("attn-two-curves", TwoCurves);
