/** Two runs: what differs, by how much, and where to look. */

import { extent, path, scale, thinned, ticks } from "../pure/curves.js";
import { Signal, effect } from "../pure/signals.js";
import { short, signed, whole } from "../pure/words.js";
import { go, visit } from "./actions.js";
import { Panel, button, choice, el, svg, svgText, table, written } from "./elements.js";
import { getComparison } from "./server.js";
import { otherState, place, runId, runState, runs } from "./store.js";

/** @typedef {import("../pure/shapes.js").Comparison} Comparison */
/** @typedef {import("../pure/shapes.js").NumberRow} NumberRow */
/** @typedef {import("../pure/history.js").HistoryRow} HistoryRow */

const MOST_ROWS = 200;
const [LEFT, RIGHT, TOP, HEIGHT, FOOT] = [52, 14, 6, 150, 20];

const found = new Signal(/** @type {Comparison | null} */ (null));
const problem = new Signal("");
const statistic = new Signal("");

class CompareScreen extends Panel {
  build() {
    const bar = el("div", { className: "controls" });
    const [answer, body] = [el("div", {}), el("div", {})];
    const curves = document.createElement("attn-two-curves");
    this.append(bar, answer, curves, body);
    this.watch(() => bar.replaceChildren(...choices()));
    this.watch(() => answer.replaceChildren(...answerNow()));
    this.watch(() => body.replaceChildren(...details()));
    this.watch(() => (curves.hidden = !found.value));
  }
}

/** Asks when the screen is open and both runs are chosen. */
effect(() => {
  const [a, b, align] = [runId.value, place.other.value, place.align.value];
  found.value = null;
  problem.value = "";
  if (place.screen.value !== "compare" || a === null || b === null) return;
  const isCurrent = () => runId.value === a && place.other.value === b && place.align.value === align;
  getComparison(a, b, align).then(
    (comparison) => void (isCurrent() && (found.value = comparison)),
    (error) => void (isCurrent() && (problem.value = String(error.message))),
  );
});

function choices() {
  /** @type {[string, string][]} */
  const options = (runs.value ?? []).map(({ id, title }) => [id, title]);
  /** @type {[string, string][]} */
  const others = [["", "choose a run"], ...options.filter(([id]) => id !== runId.value)];
  const { other, align } = place;
  return [
    el("label", {}, "A ", choice("run A", options, runId.value ?? "", (run) => go({ run }))),
    button("⇄", "exchange A and B", () => other.value && go({ run: other.value, other: runId.value })),
    el("label", {}, "B ", choice("run B", others, other.value ?? "", (id) => go({ other: id || null }))),
    el("label", {}, "at the same ", choice("what is the same in both", [["step", "step"], ["loss", "loss"], ["end", "distance from the end"]], align.value, (value) => go({ align: /** @type {"step"} */ (value) }))),
    button("A | B | B−A", "look at the maps of both", () => visit({ screen: "live", view: "both" })),
  ];
}

/** @returns {Node[]} */
function answerNow() {
  if (place.other.value === null) return [el("p", { className: "note" }, "Choose a second run, B, to compare with.")];
  if (problem.value) return [el("p", { className: "verdict trouble" }, problem.value)];
  const comparison = found.value;
  if (!comparison) return [el("p", { className: "note" }, "comparing …")];
  return [verdict(comparison)];
}

/** @returns {Node[]} */
function details() {
  const comparison = found.value;
  if (!comparison) return [];
  const parts = [settings(comparison), matching(comparison), numbers(comparison)];
  return parts.filter((part) => part !== null);
}

/** @param {Comparison} comparison */
function verdict({ verdict: words, reason, why, a, b }) {
  const reasons = why.filter((each) => each !== reason).map((each) => el("li", {}, each));
  const points = [...(a ?? []), ...(b ?? [])].map(({ name, step, loss, captures }, index) =>
    el("li", {}, `${"AB"[index]} ${name}: ${whole(captures)} ${captures === 1 ? "capture" : "captures"}, compared at step ${whole(step)}, loss ${short(loss)}`),
  );
  return el("section", { className: "verdict" }, el("h2", {}, words), el("p", {}, reason ?? ""), el("ul", {}, ...reasons, ...points));
}

/** @param {Comparison} comparison */
function settings(comparison) {
  const rows = Object.entries(comparison.settings).map(([name, [a, b]]) => [name, written(a), written(b)]);
  return table("Settings that differ", ["setting", "A", "B"], rows) ?? el("p", { className: "note" }, "No setting differs.");
}

/** @param {Comparison} comparison */
function matching({ matching: maps }) {
  if (!maps || maps.numbered === null) return null;
  const bound = maps.at_least ? "at least " : "";
  const usual = maps.wobble === null ? "" : ` Neighbouring captures of one run: ${short(maps.wobble)}.`;
  const numbered = `Heads of the same number: ${bound}${short(maps.numbered)} bits.${usual}`;
  const matched = `Heads that resemble each other most: ${bound}${short(maps.matched)} bits; `;
  const moved = `${maps.moved} of ${maps.heads} resemble one of another number most.`;
  const rows = maps.layers.flatMap((layer) => layer.heads.map((pair) => matchedRow(layer, pair)));
  const titles = ["layer", "head of A", "same number: bits", "resembles most: head of B", "bits", ""];
  const pairs = table("", titles, rows);
  return el(
    "section",
    { className: "card wide" },
    el("h2", {}, "How far the maps are apart"),
    el("p", {}, numbered),
    el("p", {}, matched + moved),
    pairs && el("details", {}, el("summary", {}, "Each head, as numbered and as matched"), pairs),
  );
}

/**
 * @param {import("../pure/shapes.js").MatchedLayer} where
 * @param {{a: number, b: number, distance: number | null, numbered: number | null}} pair
 */
function matchedRow({ role, layer }, { a, b, distance, numbered }) {
  const stem = stemOf(role, layer);
  return [
    `${role.replace("_", " ")} ${layer}`,
    String(a),
    short(numbered),
    String(b),
    short(distance),
    el(
      "span",
      { className: "group" },
      button("numbered", `look at head ${a} of both`, () => look(stem, String(a), null)),
      button("matched", `look at head ${a} of A and ${b} of B`, () =>
        look(stem, String(a), `${stem}:${a}:${b}`),
      ),
    ),
  ];
}

/**
 * Looks at a head in both runs, where they were compared.
 * @param {string} layer stem
 * @param {string} head
 * @param {string | null} partner
 */
function look(layer, head, partner) {
  const [a, b] = [found.value?.a?.[0].step ?? null, found.value?.b?.[0].step ?? null];
  const steps = a === null || b === null || a === b ? { tied: true } : { tied: false, against: String(b) };
  visit({ screen: "live", view: "both", step: a, ...steps, layer, head, partner });
}

/**
 * @param {string} role
 * @param {number} layer
 */
function stemOf(role, layer) {
  const [stack, type = "self"] = role.split("_");
  return `${stack}_layer${layer}_${type}_attn`;
}

/** @param {Comparison} comparison */
function numbers({ layers }) {
  const names = [...new Set(layers.map((row) => row.statistic))].sort();
  const seen = layers.filter((row) => !statistic.value || row.statistic === statistic.value);
  const rows = seen.slice(0, MOST_ROWS).map(numberRow);
  const titles = ["layer", "head", "statistic", "A", "B", "B − A", "own wobbles", ""];
  const made = table(`Numbers, the most different first (${Math.min(MOST_ROWS, seen.length)} of ${seen.length})`, titles, rows);
  /** @type {[string, string][]} */
  const options = [["", "every statistic"], ...names.map((name) => /** @type {[string, string]} */ ([name, name.replaceAll("_", " ")]))];
  made?.children[0]?.after(choice("statistic", options, statistic.value, (name) => (statistic.value = name)));
  return made;
}

/** @param {NumberRow} row */
function numberRow({ role, layer, head, statistic: name, a, b, delta, times }) {
  const stem = stemOf(role, layer);
  const both = button("look", "look at this head in both runs", () =>
    look(stem, head === null ? "mean" : String(head), null),
  );
  return [
    `${role.replace("_", " ")} ${layer}`,
    head === null ? "all" : String(head),
    name.replaceAll("_", " "),
    short(a),
    short(b),
    signed(delta),
    times === null || times === undefined ? "–" : times < 1000 ? `${short(times)} ×` : "> 1000 ×",
    both,
  ];
}

/** The losses of two runs, over the same steps. */
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
customElements.define("attn-compare", CompareScreen);
