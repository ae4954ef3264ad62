/** Curves: from numbers to lengths, ticks, and as many points as can be seen. */

/**
 * A function from numbers to pixels, along a line.
 * @param {number} low
 * @param {number} high
 * @param {number} start pixel of `low`
 * @param {number} end pixel of `high`
 */
export function scale(low, high, start, end) {
  const size = high - low || 1;
  return (/** @type {number} */ value) => start + ((value - low) / size) * (end - start);
}

/**
 * The least and the largest number; [0, 1] if there is none, and a little room if they are equal.
 * @param {(number | null)[]} values
 * @returns {[number, number]}
 */
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

/**
 * Round numbers between two numbers, at most `count` and a few.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((size) => size * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
}

/**
 * A function from steps to the seconds since the first of some rows, which never go back; between rows in
 * proportion. Null where fewer than two rows have a time.
 * @param {{step: number, time: number | null}[]} rows in the order of steps
 */
export function secondsAt(rows) {
  const known = rows.filter(({ time }) => time !== null);
  if (known.length < 2) return null;
  const steps = known.map(({ step }) => step);
  let latest = 0;
  const seconds = known.map(({ time }) => (latest = Math.max(latest, Number(time) - Number(known[0].time))));
  return (/** @type {number} */ step) => {
    const near = nearest(steps, step);
    const first = Math.min(Math.max(0, steps[near] > step ? near - 1 : near), steps.length - 2);
    return scale(steps[first], steps[first + 1], seconds[first], seconds[first + 1])(step);
  };
}

/**
 * Of the points on one pixel, keeps the first, the lowest, the highest and the last: a spike is seen
 * however many points there are.
 * @param {Point[]} points in the order of x, in pixels
 * @returns {Point[]}
 */
export function thinned(points) {
  /** @type {Point[]} */
  const kept = [];
  for (let start = 0; start < points.length; ) {
    let end = start + 1;
    while (end < points.length && Math.floor(points[end].x) === Math.floor(points[start].x)) end++;
    kept.push(...ofOnePixel(points.slice(start, end)));
    start = end;
  }
  return kept;
}

/** @param {Point[]} points */
function ofOnePixel(points) {
  if (points.length <= 4) return points;
  const known = points.filter((point) => point.y !== null);
  const ordered = [...known].sort((a, b) => Number(a.y) - Number(b.y));
  const wanted = new Set([points[0], ordered[0], ordered.at(-1), points.at(-1)]);
  return points.filter((point) => wanted.has(point));
}

/**
 * The path of a curve, with a gap where a number is missing; a point by itself is a dot.
 * @param {Point[]} points
 */
export function path(points) {
  const isKnown = (/** @type {number} */ index) => (points[index]?.y ?? null) !== null;
  const parts = points.map(({ x, y }, index) => {
    if (y === null) return "";
    const alone = isKnown(index - 1) || isKnown(index + 1) ? "" : "h0.01";
    return `${isKnown(index - 1) ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${alone}`;
  });
  return parts.join("");
}

/**
 * The index of the number that is nearest; −1 if there is none.
 * @param {number[]} sorted
 * @param {number} value
 */
export function nearest(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  const isBelowNearer = low > 0 && !(sorted[low] - value < value - sorted[low - 1]);
  return isBelowNearer ? low - 1 : low < sorted.length ? low : -1;
}
