/** The lanes of the timeline: the loss, and a statistic of the layers. */

import { extent } from "../pure/curves.js";
import { headValue, layerMean, layerName } from "../pure/history.js";
import { STATISTICS } from "../pure/words.js";
import { headShown, place, stemShown } from "./store.js";

/**
 * The lanes for which there are numbers.
 * @param {HistoryRow[]} rows
 * @returns {Lane[]}
 */
export function lanesOf(rows) {
  const losses = rows.map(({ loss }) => loss);
  const loss = { title: "loss", ends: extent(losses), curves: [{ className: "loss", values: losses }] };
  return [loss, statisticLane(rows)].filter(({ curves }) =>
    curves.some(({ values }) => values.some((value) => value !== null)),
  );
}

/** @param {HistoryRow[]} rows @returns {Lane} */
function statisticLane(rows) {
  const [statistic, kind] = [place.statistic.value, place.kind.value];
  const [own, head] = [stemShown.value, headShown.value];
  const stems = [...new Set(rows.flatMap(({ layers }) => [...layers.keys()]))]
    .filter((stem) => !kind || layerName(stem)?.kind === kind)
    .sort((a, b) => Number(a === own) - Number(b === own)); // the last is drawn above the others
  const curves = stems.map((stem) => ({
    className: stem === own ? "own" : "faint",
    values: rows.map((row) => layerMean(row, stem, statistic)),
  }));
  if (own && head !== "mean") {
    const values = rows.map((row) => headValue(row, own, Number(head), statistic));
    curves.push({ className: "head", values });
  }
  return { title: title(statistic, own, head), ends: extent(curves.flatMap(({ values }) => values)), curves };
}

/** @param {string} statistic @param {string | null} stem @param {string} head */
function title(statistic, stem, head) {
  const name = stem === null ? null : layerName(stem);
  const layer = name ? ` · bold: ${name.kind} layer ${name.layer}` : "";
  return `${STATISTICS[statistic] ?? statistic}${layer}${head === "mean" ? "" : ` · dashed: head ${head}`}`;
}
