/** Numbers of rows and of pairs of maps. Weights are [rows, columns]. */

/**
 * What is to be known of one query's weights.
 * @param {Float64Array} row
 */
export function rowFacts(row) {
  const total = row.reduce((sum, weight) => sum + weight, 0);
  let nats = 0;
  for (const weight of row) if (weight > 0) nats -= (weight / total) * Math.log(weight / total);
  return { total, bits: nats / Math.LN2, effective: total > 0 ? Math.exp(nats) : 0 };
}

/**
 * The mean weight of a column's cells that are not masked.
 * @param {Float64Array} weights
 * @param {Uint8Array | null} masked
 * @param {number} columns
 * @param {number} column
 */
export function columnMean(weights, masked, columns, column) {
  let [sum, count] = [0, 0];
  for (let index = column; index < weights.length; index += columns) {
    if (masked?.[index]) continue;
    sum += weights[index];
    count += 1;
  }
  return count ? sum / count : 0;
}

/**
 * The Jensen–Shannon distance of two rows, in bits, from 0 to 1. Each is made to sum to 1 first; null
 * if either is empty.
 * @param {Float64Array} a
 * @param {Float64Array} b
 */
export function jensenShannon(a, b) {
  const [sumA, sumB] = [a, b].map((row) => row.reduce((sum, weight) => sum + weight, 0));
  if (!(sumA > 0 && sumB > 0)) return null;
  let bits = 0;
  for (let key = 0; key < a.length; key++) {
    const [p, q] = [a[key] / sumA, b[key] / sumB];
    bits += half(p, p + q) + half(q, p + q);
  }
  return Math.min(1, Math.max(0, bits / 2));
}

/** @param {number} part @param {number} both */
function half(part, both) {
  return part > 0 ? part * Math.log2((2 * part) / both) : 0;
}

/**
 * The mean over the queries of the rows' distances; null if no row has weights in both.
 * @param {Float64Array} a
 * @param {Float64Array} b
 * @param {number} columns
 */
export function meanDistance(a, b, columns) {
  let [sum, count] = [0, 0];
  for (let start = 0; start < a.length; start += columns) {
    const distance = jensenShannon(
      a.subarray(start, start + columns),
      b.subarray(start, start + columns),
    );
    if (distance === null) continue;
    sum += distance;
    count += 1;
  }
  return count ? sum / count : null;
}

/**
 * B − A.
 * @param {Float64Array} a
 * @param {Float64Array} b
 */
export function difference(a, b) {
  return Float64Array.from(a, (weight, index) => b[index] - weight);
}
