/** Reads `history.jsonl`, as far as curves and sorting need it. */

/**
 * The statistics of a layer's heads, by name; null is a number that is not finite.
 * @typedef {{heads: number[], values: Record<string, (number | null)[]>}} LayerRow
 */

/**
 * One capture.
 * @typedef {object} HistoryRow
 * @property {number} step
 * @property {number | null} epoch
 * @property {number | null} loss
 * @property {number | null} time seconds since 1970
 * @property {Map<string, LayerRow>} layers by the stem of their pictures
 */

/**
 * Reads lines; those that are no capture are left out.
 * @param {string} text
 * @returns {HistoryRow[]}
 */
export function readLines(text) {
  return text.split("\n").flatMap((line) => {
    const row = line ? readLine(line) : null;
    return row ? [row] : [];
  });
}

/**
 * @param {string} line
 * @returns {HistoryRow | null}
 */
function readLine(line) {
  try {
    const record = JSON.parse(line);
    const { step, epoch, loss, timestamp } = record.metadata;
    if (!Number.isSafeInteger(step)) return null;
    const stacks = ["encoder", "decoder"].map((stack) => readStack(stack, record[stack]));
    return {
      step,
      epoch: numberOrNull(epoch),
      loss: numberOrNull(loss),
      time: numberOrNull(timestamp),
      layers: new Map(stacks.flat()),
    };
  } catch {
    return null;
  }
}

/**
 * @param {string} stack
 * @param {any} layers
 * @returns {[string, LayerRow][]}
 */
function readStack(stack, layers) {
  if (!Array.isArray(layers)) return [];
  return layers.map((layer) => {
    const values = layer.heads ?? {};
    const count = Math.max(0, ...Object.values(values).map((column) => column.length));
    const heads = layer.head_indices ?? Array.from({ length: count }, (_, index) => index);
    const type = String(layer.type).split("_")[0];
    return [`${stack}_layer${layer.layer}_${type}_attn`, { heads, values }];
  });
}

/** @param {any} value */
function numberOrNull(value) {
  return Number.isFinite(value) ? value : null;
}

/**
 * The rows in the order of their steps. A step that was captured twice, as after a restart, counts as
 * it was the last time.
 * @param {HistoryRow[]} rows
 * @param {HistoryRow[]} more
 */
export function merged(rows, more) {
  const last = rows.at(-1)?.step ?? -Infinity;
  if (more.every((row, index) => row.step > (more[index - 1]?.step ?? last))) {
    return [...rows, ...more];
  }
  const byStep = new Map([...rows, ...more].map((row) => [row.step, row]));
  return [...byStep.values()].sort((a, b) => a.step - b.step);
}

/**
 * The statistic of one head; null where there is none.
 * @param {HistoryRow | undefined} row
 * @param {string} stem
 * @param {number} head
 * @param {string} statistic
 */
export function headValue(row, stem, head, statistic) {
  const layer = row?.layers.get(stem);
  return layer?.values[statistic]?.[layer.heads.indexOf(head)] ?? null;
}

/**
 * The mean of a statistic over the layer's heads; null where there is none.
 * @param {HistoryRow | undefined} row
 * @param {string} stem
 * @param {string} statistic
 */
export function layerMean(row, stem, statistic) {
  let [sum, count] = [0, 0];
  for (const value of row?.layers.get(stem)?.values[statistic] ?? []) {
    if (value === null) continue;
    sum += value;
    count += 1;
  }
  return count ? sum / count : null;
}
