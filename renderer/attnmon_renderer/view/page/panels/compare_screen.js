/** Two runs: what differs, by how much, and where to look. */

import { stemOf } from "../pure/history.js";
import { Signal, effect } from "../pure/signals.js";
import { short, signed, whole } from "../pure/words.js";
import { go, visit } from "./actions.js";
import { curveCharts, headMatrices, inWobbles } from "./comparison_drawings.js";
import { Panel, button, card, choice, el, more, table, written } from "./elements.js";
import { getComparison } from "./server.js";
import { headShown, place, runId, runs, stemShown } from "./store.js";

const [FIRST_ROWS, MOST_ROWS] = [25, 2000];
/** @type {Record<string, string>} */
const TONES = { identical: "same", "within the run's own wobble": "same", "not comparable": "" };

const found = new Signal(/** @type {Comparison | null} */ (null));
const problem = new Signal("");
const statistic = new Signal("");

class CompareScreen extends Panel {
  build() {
    const bar = el("div", { className: "controls" });
    const [answer, pick, heads, rows] = [el("div"), el("div"), el("div"), el("div")];
    this.append(bar, answer, pick, heads, rows);
    this.fill(bar, choices);
    this.fill(answer, answerNow);
    this.fill(pick, () => [statistics()]);
    this.fill(heads, () => [everyHead()]);
    this.fill(rows, () => [numbers()]);
    this.watch(() => mark(heads));
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
  const options = (runs.value ?? []).map(({ id, title }) => [id, title]);
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

function answerNow() {
  if (place.other.value === null) return [el("p", { className: "note" }, "Choose a second run, B, to compare with.")];
  if (problem.value) return [el("p", { className: "verdict trouble" }, problem.value)];
  const comparison = found.value;
  if (!comparison) return [el("p", { className: "note" }, "comparing …")];
  return [verdict(comparison), comparedRuns(comparison), settings(comparison), ...curveCharts(comparison), matching(comparison)];
}

/** @param {Comparison} comparison */
function verdict({ verdict: words, reason, meaning, why, damages }) {
  const reasons = [...why.filter((each) => each !== reason), ...damages].map((each) => el("li", {}, each));
  const tone = TONES[words] ?? "apart";
  return el("section", { className: `verdict ${tone}` }, el("h2", {}, words), el("p", {}, reason), el("p", { className: "note" }, meaning), el("ul", {}, ...reasons));
}

/** @param {Comparison} comparison */
function comparedRuns({ a, b }) {
  const rows = [a, b].flatMap((group, index) =>
    group.map(({ name, state, captures, step, loss }) => [el("b", { className: "ab"[index] }, "AB"[index]), name, state, whole(captures), whole(step), short(loss)]),
  );
  return table("", ["", "run", "state", "captures", "compared at step", "loss"], rows);
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
  return card(
    "How far the maps are apart",
    el("p", {}, numbered),
    el("p", {}, matched + moved),
    pairs && more("Each head, as numbered and as matched", () => pairs),
  );
}

/**
 * @param {MatchedLayer} where
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
  const [a, b] = [found.value?.a[0]?.step ?? null, found.value?.b[0]?.step ?? null];
  const steps = a === null || b === null || a === b ? { tied: true } : { tied: false, against: String(b) };
  visit({ screen: "live", view: "both", step: a, ...steps, layer, head, partner });
}

function statistics() {
  const names = [...new Set(found.value?.layers.map((row) => row.statistic))].sort();
  const options = [["", "every statistic"], ...names.map((name) => [name, name.replaceAll("_", " ")])];
  return names.length > 0 && el("label", {}, "Statistic ", choice("statistic", options, statistic.value, (name) => (statistic.value = name)));
}

function everyHead() {
  const comparison = found.value;
  return comparison && headMatrices(comparison.layers, statistic.value, (row) => look(stemOf(row.role, row.layer), String(row.head), null));
}

/**
 * Marks the head whose map is looked at.
 * @param {Element} heads
 */
function mark(heads) {
  void [found.value, statistic.value];
  const shown = `${stemShown.value} ${headShown.value}`;
  for (const each of heads.querySelectorAll("button")) {
    const { role = "", layer, head } = each.dataset;
    each.setAttribute("aria-pressed", String(`${stemOf(role, Number(layer))} ${head}` === shown));
  }
}

function numbers() {
  const comparison = found.value;
  if (!comparison) return null;
  const { layers, a, b } = comparison;
  const seen = layers.filter((row) => !statistic.value || row.statistic === statistic.value).slice(0, MOST_ROWS);
  const unit = a.length + b.length > 2 ? "spreads within a group" : "own wobbles";
  const titles = ["layer", "head", "statistic", "A", "B", "B − A", unit, ""];
  const made = table("Numbers, the most different first", titles, seen.slice(0, FIRST_ROWS).map(numberRow));
  const rest = seen.slice(FIRST_ROWS);
  if (rest.length) made?.append(more(`${rest.length} more`, () => table("", titles, rest.map(numberRow))));
  return made ?? el("p", { className: "note" }, "There are no numbers that both have.");
}

/** @param {NumberRow} row */
function numberRow({ role, layer, head, statistic: name, a, b, delta, times }) {
  const stem = stemOf(role, layer);
  return [
    `${role.replace("_", " ")} ${layer}`,
    head === null ? "all" : String(head),
    name.replaceAll("_", " "),
    short(a),
    short(b),
    signed(delta),
    inWobbles(times),
    button("look", "look at this head in both runs", () => look(stem, head === null ? "mean" : String(head), null)),
  ];
}

customElements.define("attn-compare", CompareScreen);
