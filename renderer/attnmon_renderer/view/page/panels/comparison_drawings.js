/** What is drawn of two runs: their curves over the training, and how much each head differs. */

import { CHANGE_COLOURS, LEVELS, css } from "../pure/codes.js";
import { extent, path, scale } from "../pure/curves.js";
import { short, signed } from "../pure/words.js";
import { button, card, el, more, svg, svgText } from "./elements.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT] = [360, 150, 46, 354, 20, 130];
const FIRST = 6;
/** Values that differ by more than this factor have a logarithmic scale. */
const LOG_FROM = 20;
/** @type {Record<string, string>} */
const WORDS = { loss: "loss", entropy: "entropy, mean of heads", max_logit: "largest logit" };
const AXES = { step: "step", loss: "loss reached (falling)", end: "steps before the end" };

/**
 * Curves: A as a line, B dashed.
 * @param {Comparison} comparison
 */
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

/** Wobbles from which on a difference has the full colour. */
const FULL = 3;

/**
 * How much one statistic of every head differs, layers × heads.
 * @param {NumberRow[]} rows
 * @param {string} chosen statistic; empty for the entropy
 * @param {(row: NumberRow) => void} look
 */
export function headMatrices(rows, chosen, look) {
  const ofHeads = rows.filter(({ head }) => head !== null);
  const names = new Set(ofHeads.map(({ statistic }) => statistic));
  const shown = [chosen, "entropy", ...names].find((name) => names.has(name));
  if (shown === undefined) return null;
  const words = el("output", { className: "note" });
  const roles = Map.groupBy(ofHeads.filter(({ statistic }) => statistic === shown), ({ role }) => role);
  const pressed = (/** @type {NumberRow} */ row, /** @type {string} */ text) => {
    words.textContent = text;
    look(row);
  };
  return card(
    `Every head: ${shown.replaceAll("_", " ")}`,
    el("p", { className: "note" }, `B − A: red where B is larger, blue where it is smaller, in full colour from ${FULL} of a run's own wobbles on. Choose a cell to see the maps of its head.`),
    el("div", { className: "matrices" }, ...[...roles].map(([role, own]) => matrix(role, own, pressed))),
    words,
  );
}

/** @param {string} role @param {NumberRow[]} rows @param {(row: NumberRow, words: string) => void} pressed */
function matrix(role, rows, pressed) {
  const heads = [...new Set(rows.map(({ head }) => Number(head)))].sort((a, b) => a - b);
  const layers = [...Map.groupBy(rows, ({ layer }) => layer)].sort(([a], [b]) => a - b);
  const lines = layers.map(([layer, own]) =>
    el("tr", {}, el("th", { scope: "row" }, `layer ${layer}`), ...heads.map((head) => {
      const row = own.find((each) => each.head === head);
      return el("td", {}, row && cell(row, pressed));
    })),
  );
  const table = el("table", { className: "matrix" }, el("tbody", {}, ...lines));
  const title = `${role.replace("_", " ")}: heads ${heads[0]} to ${heads.at(-1)}, from the left`;
  return el("div", {}, el("h3", {}, title), el("div", { className: "scroll" }, table));
}

/** @param {NumberRow} row @param {(row: NumberRow, words: string) => void} pressed */
function cell(row, pressed) {
  const { role, layer, head, statistic, a, b, delta, times } = row;
  const where = `${role.replace("_", " ")} ${layer} · head ${head}: ${statistic.replaceAll("_", " ")}`;
  const words = delta === null ? `${where} is unknown` : `${where} ${short(a)} → ${short(b)}, ${signed(delta)}, ${inWobbles(times)} a run's own wobble`;
  const made = button("", words, () => pressed(row, words), false);
  const strength = typeof times === "number" ? Math.min(1, times / FULL) : Number(Boolean(delta));
  const place = (Math.sign(delta ?? 0) * strength + 1) / 2;
  made.style.backgroundColor = css(CHANGE_COLOURS[Math.min(LEVELS - 1, Math.floor(place * LEVELS))]);
  Object.assign(made.dataset, { role, layer, head });
  return made;
}

/** @param {number | null | undefined} times */
export function inWobbles(times) {
  if (times === null || times === undefined) return "–";
  return times < 1000 ? `${short(times)} ×` : "> 1000 ×";
}
