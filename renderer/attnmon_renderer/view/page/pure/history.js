/** Reads `history.jsonl`, as far as curves and the order of heads need it. */

const KINDS = ["encoder", "decoder self", "decoder cross"];

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

/** @param {string} line @returns {HistoryRow | null} */
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

/** @param {string} stack @param {any} layers @returns {[string, LayerRow][]} */
function readStack(stack, layers) {
  if (!Array.isArray(layers)) return [];
  return layers.map((layer) => {
    const values = layer.heads ?? {};
    const count = Math.max(0, ...Object.values(values).map((column) => column.length));
    const heads = layer.head_indices ?? Array.from({ length: count }, (_, index) => index);
    return [stemOf(`${stack}_${layer.type}`, layer.layer), { heads, values }];
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

/**
 * Every head, in the order of the layers.
 * @param {{stem: string, heads: number[]}[]} layers
 * @param {string} statistic
 * @param {HistoryRow | undefined} now
 * @param {HistoryRow | undefined} then
 * @returns {HeadPlace[]}
 */
export function changes(layers, statistic, now, then) {
  return layers.flatMap(({ stem, heads }) =>
    heads.map((head) => {
      const [after, before] = [now, then].map((row) => headValue(row, stem, head, statistic));
      const change = after === null || before === null ? null : after - before;
      return { stem, head, change };
    }),
  );
}

/**
 * The heads that changed most first, whichever way; those of which nothing is known last.
 * @param {HeadPlace[]} places
 */
export function byChange(places) {
  const size = (/** @type {HeadPlace} */ place) =>
    place.change === null ? -1 : Math.abs(place.change);
  return [...places].sort((a, b) => size(b) - size(a));
}

/**
 * The layers of a kind one after the other, as they are shown.
 * @template {{stem: string}} Layer
 * @param {Layer[]} layers
 */
export function byKind(layers) {
  const place = (/** @type {Layer} */ { stem }) => {
    const name = layerName(stem);
    return [KINDS.indexOf(name?.kind ?? ""), name?.layer ?? 0];
  };
  return [...layers].sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
}

/**
 * The role, layer and type in a layer's stem, and how it is written; null for another text.
 * @param {string} stem
 */
export function layerName(stem) {
  const named = /^(encoder|decoder)_layer(\d+)_(self|cross)_attn$/.exec(stem);
  if (!named) return null;
  const [, role, layer, type] = named;
  return { role, layer: Number(layer), type, kind: role === "encoder" ? role : `${role} ${type}` };
}

/**
 * The stem of a layer.
 * @param {string} role such as "decoder_cross"
 * @param {number} layer
 */
export function stemOf(role, layer) {
  const [stack, type = "self"] = role.split("_");
  return `${stack}_layer${layer}_${type}_attn`;
}
