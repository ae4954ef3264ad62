/** One map: its cells, its axes, and the spot that is looked at. */

import { inside, moved, wholeMap, zoomed } from "../pure/cells.js";
import { Signal } from "../pure/signals.js";
import { visible } from "../pure/words.js";
import { lookAt } from "./actions.js";
import { axisTokens } from "./content.js";
import { Panel, el } from "./elements.js";
import { FONT, MapFrame, cut } from "./map_frame.js";
import { marginalRoom, paintMarginals } from "./marginals.js";
import { isDark, place, spot } from "./store.js";

const LEAST_DRAG = 4;
const [SPOT_LIGHT, SPOT_DARK, INK_LIGHT, INK_DARK] = ["#ff2d55", "#ff6b8a", "#23262b", "#e4e6ea"];

export class MapCanvas extends Panel {
  content = new Signal(/** @type {Content | null} */ (null));
  width = new Signal(0);
  canvas = el("canvas", { role: "img" });
  marks = el("canvas", { className: "marks", "aria-hidden": "true" });
  image = el("canvas");
  /** @type {MapFrame | null} */
  frame = null;
  /** Another one after each painting: the pointer paints nothing again. */
  painted = new Signal({});
  /** @type {{x: number, y: number, part: Part} | null} */
  grabbed = null;

  build() {
    this.append(this.canvas, this.marks);
    this.addEventListener("pointermove", (event) => this.move(event));
    this.addEventListener("pointerdown", (event) => this.grab(event));
    this.addEventListener("pointerup", (event) => this.release(event));
    this.addEventListener("pointerleave", () => this.leave());
    this.addEventListener("dblclick", () => (place.part.value = null));
    this.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.watchWidth((width) => (this.width.value = width));
    this.watch(() => this.paint());
    this.watch(() => this.mark());
  }

  paint() {
    const [content, width] = [this.content.value, this.width.value];
    if (!content || !width) return;
    const { layer } = content.map;
    const pen = context(this.canvas);
    pen.font = FONT;
    const measure = (/** @type {string} */ text) => pen.measureText(text).width;
    const { queries, keys } = axisTokens(content.map);
    const tokens = { queries: queries?.map(visible) ?? null, keys: keys?.map(visible) ?? null };
    const part = inside(place.part.value ?? wholeMap(layer), layer);
    const most = place.full.value ? Math.max(320, innerHeight - 210) : Math.max(320, Math.min(620, innerHeight - 335));
    this.frame = new MapFrame(part, tokens, measure, width, most, marginalRoom(content, width));
    for (const canvas of [this.canvas, this.marks]) resize(canvas, width, this.frame.height);
    this.cells(content, pen, this.frame);
    axes(pen, this.frame, measure, isDark.value ? INK_DARK : INK_LIGHT);
    paintMarginals(pen, this.frame, content, measure);
    this.canvas.setAttribute("aria-label", content.title);
    this.painted.value = {};
  }

  /** @param {Content} content @param {CanvasRenderingContext2D} pen @param {MapFrame} frame */
  cells({ map: { layer }, pixels }, pen, { part, box }) {
    const { rows, columns, query_step: down, key_step: across } = layer;
    if (this.image.width !== columns) this.image.width = columns;
    if (this.image.height !== rows) this.image.height = rows;
    const bytes = new Uint8ClampedArray(/** @type {ArrayBuffer} */ (pixels.buffer));
    context(this.image).putImageData(new ImageData(bytes, columns, rows), 0, 0);
    pen.imageSmoothingEnabled = false;
    const source = [part.k0 / across, part.q0 / down, (part.k1 - part.k0) / across, (part.q1 - part.q0) / down];
    const [sx, sy, sw, sh] = source;
    pen.drawImage(this.image, sx, sy, sw, sh, box.left, box.top, box.width, box.height);
  }

  mark() {
    void this.painted.value;
    const [at, content, { frame }] = [spot.value, this.content.value, this];
    const pen = context(this.marks);
    pen.clearRect(0, 0, this.marks.width, this.marks.height);
    if (!at || !content || !frame) return;
    const { query_step: down, key_step: across } = content.map.layer;
    const [row, column] = [Math.floor(at.query / down), Math.floor(at.key / across)];
    const { left, top, width, height } = frame.box;
    pen.save();
    pen.beginPath();
    pen.rect(left - 1, top - 1, width + 2, height + 2);
    pen.clip();
    pen.strokeStyle = isDark.value ? SPOT_DARK : SPOT_LIGHT;
    pen.lineWidth = at.isLocked ? 2 : 1;
    pen.strokeRect(left, frame.y(row * down), width, down * frame.perQuery);
    pen.strokeRect(frame.x(column * across), top, across * frame.perKey, height);
    pen.restore();
  }

  /** @param {PointerEvent | WheelEvent} event */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.frame?.positionAt(event.clientX - box.left, event.clientY - box.top) ?? null;
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.grabbed && event.buttons & 1 && this.drag(event)) return;
    const at = this.at(event);
    if (spot.value?.isLocked) return;
    spot.value = at && { query: Math.floor(at.q), key: Math.floor(at.k), isLocked: false };
  }

  /** @param {PointerEvent} event */
  grab(event) {
    const layer = this.content.value?.map.layer;
    if (event.button !== 0 || !layer || !this.at(event)) return;
    this.grabbed = { x: event.clientX, y: event.clientY, part: place.part.value ?? wholeMap(layer) };
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const [{ grabbed, frame }, isZoomed] = [this, place.part.value !== null];
    if (!grabbed || !frame || !isZoomed || event.pointerType === "touch") return false;
    const [right, down] = [event.clientX - grabbed.x, event.clientY - grabbed.y];
    if (Math.hypot(right, down) < LEAST_DRAG) return false;
    lookAt(moved(grabbed.part, -down / frame.perQuery, -right / frame.perKey));
    return true;
  }

  /** @param {PointerEvent} event */
  release(event) {
    const { grabbed } = this;
    this.grabbed = null;
    const at = this.at(event);
    if (!grabbed || Math.hypot(event.clientX - grabbed.x, event.clientY - grabbed.y) >= LEAST_DRAG) return;
    if (!at) return;
    const [query, key] = [Math.floor(at.q), Math.floor(at.k)];
    const isSame = spot.value?.isLocked && spot.value.query === query && spot.value.key === key;
    spot.value = isSame ? null : { query, key, isLocked: true };
  }

  leave() {
    this.grabbed = null;
    if (!spot.value?.isLocked) spot.value = null;
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    const [at, frame] = [this.at(event), this.frame];
    if (!at || !frame || !(event.ctrlKey || document.activeElement === this || place.full.value)) return;
    event.preventDefault();
    lookAt(zoomed(frame.part, 1.0015 ** -event.deltaY, at));
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {MapFrame} frame
 * @param {(text: string) => number} measure
 * @param {string} ink
 */
function axes(pen, frame, measure, ink) {
  const { left, top } = frame.box;
  pen.fillStyle = ink;
  pen.font = frame.font;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const { text, pixel } of frame.queryLabels()) pen.fillText(cut(text, measure), left - 5, pixel);
  const degrees = frame.isUpright(measure) ? -90 : 0;
  for (const { text, pixel } of frame.keyLabels()) {
    upright(pen, cut(text, measure), pixel, top - 5, degrees);
  }
  pen.globalAlpha = 0.65;
  pen.textAlign = "left";
  pen.fillText("keys →", left, 8);
  upright(pen, "← queries", 9, top, -90, "right");
  pen.globalAlpha = 1;
}

/**
 * Writes a text upwards, or level above its place.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {number} degrees
 * @param {CanvasTextAlign} [align]
 */
function upright(pen, text, x, y, degrees, align = degrees ? "left" : "center") {
  pen.save();
  pen.translate(x, degrees ? y : y - 5);
  pen.rotate((degrees * Math.PI) / 180);
  pen.textAlign = align;
  pen.fillText(text, 0, 0);
  pen.restore();
}

/** @param {HTMLCanvasElement} canvas */
function context(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/** @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function resize(canvas, width, height) {
  const fine = devicePixelRatio || 1;
  const [across, down] = [Math.round(width * fine), Math.round(height * fine)];
  if (canvas.width !== across || canvas.height !== down) {
    [canvas.width, canvas.height] = [across, down];
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    context(canvas).scale(fine, fine);
  }
  context(canvas).clearRect(0, 0, width, height);
}

customElements.define("attn-map", MapCanvas);
