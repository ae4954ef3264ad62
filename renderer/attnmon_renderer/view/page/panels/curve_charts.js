/** The curves of two runs over their trainings: A as a line, B dashed. */

import { extent, path, scale } from "../pure/curves.js";
import { short } from "../pure/words.js";
import { card, el, more, svg, svgText } from "./elements.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT] = [360, 150, 46, 354, 20, 130];
const FIRST = 6;
/** Values that differ by more than this factor have a logarithmic scale. */
const LOG_FROM = 20;
/** @type {Record<string, string>} */
const WORDS = { loss: "loss", entropy: "entropy, mean of heads", max_logit: "largest logit" };
const AXES = { step: "step", loss: "loss reached (falling)", end: "steps before the end" };

/** @param {Comparison} comparison */
export function curveCharts({ curves, align, at }) {
  if (!curves.length) return [];
  const [first, rest] = [curves.slice(0, FIRST), curves.slice(FIRST)];
  const grid = (/** @type {CurvePair[]} */ pairs) =>
    el("div", { className: "charts" }, ...pairs.map((pair) => chart(pair, align, align === "end" && at !== null ? -at : at)));
  return [
    card("Over the training",
      el("p", { className: "note" }, el("b", { className: "a" }, "A"), " is the full line, ", el("b", { className: "b" }, "B"), " the dashed one; the thin line is where they are compared."),
      grid(first),
      rest.length > 0 && more(`${rest.length} more`, () => grid(rest))),
  ];
}

/**
 * @param {CurvePair} pair
 * @param {"step" | "loss" | "end"} align
 * @param {number | null} at where the runs are compared
 */
function chart({ quantity, role, layer, a, b }, align, at) {
  const points = [...a, ...b];
  const values = points.map(([, value]) => value);
  const [low, high] = extent(values);
  const isLog = low > 0 && high / low > LOG_FROM;
  const size = isLog ? Math.log : Number;
  const ends = extent(points.map(([place]) => place));
  const [first, last] = align === "loss" ? [ends[1], ends[0]] : ends;
  const x = scale(first, last, LEFT, RIGHT);
  const y = scale(size(low), size(high), FOOT, TOP);
  const line = (/** @type {string} */ name, /** @type {[number, number][]} */ own) =>
    svg("path", { class: `curve ${name}`, d: path(own.map(([place, value]) => ({ x: x(place), y: y(size(value)) }))) });
  const where = layer === undefined ? "" : `${role?.replace("_", " ")} ${layer} · `;
  const title = `${where}${WORDS[quantity] ?? quantity}${isLog ? " (log scale)" : ""}`;
  const isInside = at !== null && at >= ends[0] && at <= ends[1];
  return svg("svg", { class: "curves", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title },
    svgText("title", LEFT, 13, "start", title),
    svg("rect", { class: "frame", x: LEFT, y: TOP, width: RIGHT - LEFT, height: FOOT - TOP }),
    svgText("tick", LEFT - 4, TOP + 9, "end", short(high)),
    svgText("tick", LEFT - 4, FOOT, "end", short(low)),
    svgText("tick", LEFT, FOOT + 14, "start", short(first)),
    svgText("tick", (LEFT + RIGHT) / 2, FOOT + 14, "middle", AXES[align]),
    svgText("tick", RIGHT, FOOT + 14, "end", short(last)),
    isInside && svg("line", { class: "rail", x1: x(at), x2: x(at), y1: TOP, y2: FOOT }),
    line("a", a),
    line("b", b));
}
