/** The curves, which are the slider of the steps: since when? */

import { extent, nearest, path, scale, secondsAt, thinned, ticks } from "../pure/curves.js";
import { Signal } from "../pure/signals.js";
import { short, whole } from "../pure/words.js";
import { goToIndex } from "./actions.js";
import { Panel, el, svg, svgText } from "./elements.js";
import { lanesOf } from "./lanes.js";
import * as store from "./store.js";

const [LEFT, RIGHT, LANE, GAP, RAIL, FOOT] = [52, 14, 54, 6, 20, 18];
const [NARROW, HEADING] = [560, 18];

/** @type {[number, string][]} */
const UNITS = [[86400, "days"], [3600, "h"], [60, "min"]];

class Timeline extends Panel {
  width = new Signal(0);
  drawing = svg("svg", { class: "curves" });
  hint = el("output", { className: "hint" });
  cursor = el("i", { className: "cursor" }, el("i", { className: "handle" }));
  other = el("i", { className: "other" });
  slider = el("div", { className: "slider", tabIndex: 0, role: "slider" }, this.drawing, this.other, this.cursor);
  /** From steps to pixels. */
  x = scale(0, 1, 0, 1);
  /** Another one after each painting: what follows the step paints nothing again. */
  painted = new Signal({});

  build() {
    this.slider.setAttribute("aria-label", "step of the capture");
    this.slider.addEventListener("pointerdown", (event) => this.grab(event));
    this.slider.addEventListener("pointermove", (event) => this.move(event));
    this.slider.addEventListener("pointerleave", () => (this.hint.textContent = ""));
    this.append(this.slider, this.hint);
    this.watchWidth((width) => (this.width.value = width));
    this.watch(() => this.paint());
    this.watch(() => this.mark());
  }

  paint() {
    const [width, state] = [this.width.value, store.runState.value];
    if (!state || !width) return;
    const rows = state.rows.value;
    const lanes = lanesOf(rows);
    const [first, last] = extent([...rows.map(({ step }) => step), ...state.steps.value]);
    const heading = width < NARROW ? HEADING : 0; // there a title in the lane would hide the curves
    const rail = lanes.length * (heading + LANE + GAP);
    const seconds = store.place.axis.value === "time" ? secondsAt(rows) : null;
    const ends = seconds ? [seconds(first), seconds(last)] : [first, last];
    const pixel = scale(ends[0], ends[1], LEFT, width - RIGHT);
    this.x = seconds ? (step) => pixel(seconds(step)) : pixel;
    this.size(width, rail);
    this.drawing.replaceChildren(
      ...lanes.flatMap((lane, index) => this.lane(lane, index * (heading + LANE + GAP) + heading, heading ? -5 : 15, rows)),
      ...this.captures(state.steps.value, rail),
      ...this.foot(ends, pixel, rail + RAIL + FOOT - 4, seconds !== null),
      ...this.alerts(state.facts.value?.alerts ?? [], rail),
    );
    this.painted.value = {};
  }

  /** @param {number} width @param {number} rail */
  size(width, rail) {
    const height = rail + RAIL + FOOT;
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawing.setAttribute("height", String(height));
    for (const line of [this.cursor, this.other]) line.style.height = `${rail + RAIL}px`;
  }

  /**
   * @param {Lane} lane
   * @param {number} top
   * @param {number} down to the foot of the title
   * @param {{step: number}[]} rows
   */
  lane({ title, ends, curves }, top, down, rows) {
    const y = scale(ends[0], ends[1], top + LANE - 3, top + 3);
    const width = this.width.value - LEFT - RIGHT;
    const paths = curves.map(({ className, values }) => {
      const points = values.map((value, index) => {
        return { x: this.x(rows[index].step), y: value === null ? null : y(value) };
      });
      return svg("path", { class: `curve ${className}`, d: path(thinned(points)) });
    });
    return [
      svg("rect", { class: "frame", x: LEFT, y: top, width, height: LANE }),
      ...paths,
      svgText("tick", LEFT - 6, top + 11, "end", short(ends[1])),
      svgText("tick", LEFT - 6, top + LANE - 3, "end", short(ends[0])),
      svgText("title", LEFT + width - 8, top + down, "end", title),
    ];
  }

  /** @param {number[]} steps @param {number} top */
  captures(steps, top) {
    const pixels = new Set(steps.map((step) => Math.round(this.x(step) * 2) / 2));
    const d = [...pixels].map((pixel) => `M${pixel} ${top + 5}v${RAIL - 10}`).join("");
    const y = top + RAIL / 2;
    const rail = { class: "rail", x1: LEFT, x2: this.width.value - RIGHT, y1: y, y2: y };
    return [svg("line", rail), svg("path", { class: "captures", d })];
  }

  /** @param {Alert[]} alerts @param {number} top */
  alerts(alerts, top) {
    const half = RAIL / 2 - 2;
    return alerts.map(({ step, text: words, severity, state }) => {
      const d = `M${this.x(step)} ${top + 2}l6 ${half}l-6 ${half}l-6 ${-half}z`;
      const title = svg("title", {}, `step ${whole(step)}: ${words}`);
      return svg("path", { class: `alert ${severity} ${state}`, d }, title);
    });
  }

  /** @param {number[]} ends @param {(value: number) => number} pixel @param {number} y @param {boolean} isTime */
  foot([first, last], pixel, y, isTime) {
    const count = this.width.value / 110;
    if (!isTime) {
      const steps = ticks(first, last, count).filter(Number.isInteger);
      return steps.map((step) => svgText("tick", pixel(step), y, "middle", whole(step)));
    }
    const [size, unit] = UNITS.find(([size]) => last - first >= 2 * size) ?? [1, "s"];
    return ticks(first / size, last / size, count).map((value) => svgText("tick", pixel(value * size), y, "middle", `${value} ${unit}`));
  }

  mark() {
    const steps = store.runState.value?.steps.value ?? [];
    const step = store.current.value?.step;
    const values = {
      valuemin: steps[0] ?? 0,
      valuemax: steps.at(-1) ?? 0,
      valuenow: step ?? 0,
      valuetext: step === undefined ? "no capture" : `step ${whole(step)}`,
    };
    for (const [name, value] of Object.entries(values)) {
      this.slider.setAttribute(`aria-${name}`, String(value));
    }
    this.placeCursors();
  }

  placeCursors() {
    void this.painted.value;
    const step = store.current.value?.step;
    const isCompared = store.place.view.value !== "map" && store.place.other.value === null;
    const other = isCompared ? store.against.value?.capture.step : undefined;
    for (const [line, at] of /** @type {const} */ ([[this.cursor, step], [this.other, other]])) {
      line.hidden = at === undefined;
      line.style.transform = `translateX(${this.x(at ?? 0)}px)`;
    }
  }

  /** @param {PointerEvent} event */
  grab(event) {
    if (event.button !== 0) return;
    this.slider.setPointerCapture(event.pointerId);
    store.isPlaying.value = false;
    this.goTo(event);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (event.buttons & 1) this.goTo(event);
    const rows = store.runState.value?.rows.value ?? [];
    const row = rows[this.nearestTo(event, rows.map(({ step }) => step))];
    const loss = !row || row.loss === null ? "" : ` · loss ${short(row.loss)}`;
    this.hint.textContent = row ? `pointer: step ${whole(row.step)}${loss}` : "";
  }

  /** @param {PointerEvent} event */
  goTo(event) {
    const index = this.nearestTo(event, store.runState.value?.steps.value ?? []);
    if (index >= 0) goToIndex(index);
  }

  /** @param {PointerEvent} event @param {number[]} steps */
  nearestTo(event, steps) {
    return nearest(steps.map(this.x), event.clientX - this.drawing.getBoundingClientRect().left);
  }
}

customElements.define("attn-timeline", Timeline);
