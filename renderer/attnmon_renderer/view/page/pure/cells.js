/** Cells and positions: which queries and keys a cell stands for, and which part of a map is seen. */

/**
 * The first and the last position of a cell.
 * @param {number} cell
 * @param {number} step positions a cell
 * @param {number} count of positions
 * @returns {[number, number]}
 */
export function span(cell, step, count) {
  return [cell * step, Math.min((cell + 1) * step, count) - 1];
}

/**
 * Whether a cell stands for more than one position.
 * @param {Grid} grid
 */
export function isPooled(grid) {
  return grid.query_step > 1 || grid.key_step > 1;
}

/**
 * 1 where no query of a cell may see any of its keys; null where all are seen.
 * @param {Grid} grid
 * @param {{data: Uint8Array, shape: number[]} | null} allowed what a mask allows beyond causality
 * @param {number} head index of the head; −1 is the mean of all
 * @returns {Uint8Array | null}
 */
export function maskedCells(grid, allowed, head) {
  if (!grid.causal && !allowed) return null;
  const masked = new Uint8Array(grid.rows * grid.columns);
  for (let row = 0; row < grid.rows; row++) {
    const lastQuery = span(row, grid.query_step, grid.queries)[1];
    const last = grid.causal ? lastQuery + grid.earlier : Infinity;
    for (let column = 0; column < grid.columns; column++) {
      const isFuture = column * grid.key_step > last;
      const isForbidden = allowed && !isAllowed(allowed, head, row, column);
      if (isFuture || isForbidden) masked[row * grid.columns + column] = 1;
    }
  }
  return masked;
}

/**
 * @param {{data: Uint8Array, shape: number[]}} allowed its shape broadcasts to [heads, rows, columns]
 * @param {number} head −1: whether any head allows it
 * @param {number} row
 * @param {number} column
 */
function isAllowed(allowed, head, row, column) {
  const [heads, rows, columns] = [...Array(3 - allowed.shape.length).fill(1), ...allowed.shape];
  const inside = (rows > 1 ? row : 0) * columns + (columns > 1 ? column : 0);
  if (head >= 0) return allowed.data[(heads > 1 ? head : 0) * rows * columns + inside] > 0;
  for (let each = 0; each < heads; each++) {
    if (allowed.data[each * rows * columns + inside]) return true;
  }
  return false;
}

/**
 * The mask of a smaller map: a cell is masked where all cells that it stands for are.
 * @param {Uint8Array | null} masked
 * @param {Grid} grid of the larger map
 * @param {number} rows of the smaller map
 * @param {number} columns
 * @returns {Uint8Array | null}
 */
export function pooledMask(masked, grid, rows, columns) {
  if (!masked) return null;
  const [rowStep, columnStep] = [Math.ceil(grid.rows / rows), Math.ceil(grid.columns / columns)];
  const pooled = new Uint8Array(rows * columns).fill(1);
  for (let row = 0; row < grid.rows; row++) {
    const start = Math.floor(row / rowStep) * columns;
    for (let column = 0; column < grid.columns; column++) {
      const cell = start + Math.floor(column / columnStep);
      pooled[cell] &= masked[row * grid.columns + column];
    }
  }
  return pooled;
}

/**
 * The whole map.
 * @param {Grid} grid
 * @returns {Part}
 */
export function wholeMap(grid) {
  return { q0: 0, q1: grid.queries, k0: 0, k1: grid.keys };
}

/**
 * The part, moved and shrunk until it lies inside of the map.
 * @param {Part} part
 * @param {Grid} grid
 * @returns {Part}
 */
export function inside(part, grid) {
  const [q0, q1] = held(part.q0, part.q1, grid.queries);
  const [k0, k1] = held(part.k0, part.k1, grid.keys);
  return { q0, q1, k0, k1 };
}

/** @param {number} low @param {number} high @param {number} count */
function held(low, high, count) {
  const size = Math.min(Math.max(high - low, Math.min(2, count)), count);
  const start = Math.min(Math.max(low, 0), count - size);
  return [start, start + size];
}

/**
 * The part magnified around a point that stays where it is.
 * @param {Part} part
 * @param {number} factor above 1 shows less, and larger
 * @param {{q: number, k: number}} at in positions
 * @returns {Part}
 */
export function zoomed(part, factor, at) {
  return {
    q0: at.q - (at.q - part.q0) / factor,
    q1: at.q + (part.q1 - at.q) / factor,
    k0: at.k - (at.k - part.k0) / factor,
    k1: at.k + (part.k1 - at.k) / factor,
  };
}

/**
 * The part moved by so many positions.
 * @param {Part} part
 * @param {number} queries
 * @param {number} keys
 * @returns {Part}
 */
export function moved(part, queries, keys) {
  return {
    q0: part.q0 + queries,
    q1: part.q1 + queries,
    k0: part.k0 + keys,
    k1: part.k1 + keys,
  };
}

/**
 * The cell at a position; null outside of the map.
 * @param {Grid} grid
 * @param {number} query
 * @param {number} key
 */
export function cellAt(grid, query, key) {
  if (!(query >= 0 && query < grid.queries && key >= 0 && key < grid.keys)) return null;
  return { row: Math.floor(query / grid.query_step), column: Math.floor(key / grid.key_step) };
}
