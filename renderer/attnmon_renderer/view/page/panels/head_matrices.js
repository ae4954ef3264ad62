/** Every head of two runs: how much one statistic differs, layers × heads. */

import { CHANGE_COLOURS, LEVELS, css } from "../pure/codes.js";
import { short, signed } from "../pure/words.js";
import { button, card, el } from "./elements.js";

/** Wobbles from which on a difference has the full colour. */
const FULL = 3;

/**
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
