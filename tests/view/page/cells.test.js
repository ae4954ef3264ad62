import assert from "node:assert/strict";
import { test } from "node:test";
import * as cells from "../../../renderer/attnmon_renderer/view/page/pure/cells.js";

const GRID = { rows: 3, columns: 3, queries: 5, keys: 6, query_step: 2, key_step: 2, causal: true, earlier: 0 };

test("the last cell ends where the positions end", () => {
  assert.deepEqual([0, 1, 2].map((cell) => cells.span(cell, 2, 5)), [[0, 1], [2, 3], [4, 4]]);
  assert.equal(cells.isPooled(GRID), true);
  assert.equal(cells.isPooled({ ...GRID, query_step: 1, key_step: 1 }), false);
});

/**
 * Position by position: a cell is masked if no query of it sees any of its keys.
 * @param {typeof GRID} grid
 */
function byPositions({ rows, columns, queries, keys, query_step, key_step, earlier }) {
  const masked = new Uint8Array(rows * columns).fill(1);
  for (let query = 0; query < queries; query++) {
    for (let key = 0; key < keys && key <= query + earlier; key++) {
      masked[Math.floor(query / query_step) * columns + Math.floor(key / key_step)] = 0;
    }
  }
  return masked;
}

test("a causal map hides what no query of a cell may see, after a prefix too", () => {
  for (const grid of [GRID, { ...GRID, earlier: 1 }, { ...GRID, earlier: 4 }, { ...GRID, rows: 5, query_step: 1 }]) {
    assert.deepEqual(cells.maskedCells(grid, null, 0), byPositions(grid));
  }
  assert.equal(cells.maskedCells({ ...GRID, causal: false }, null, 0), null);
});

test("a mask is broadcast; of the mean a cell is masked if it is in every head", () => {
  const grid = { ...GRID, causal: false };
  const keys = { data: Uint8Array.of(1, 1, 0), shape: [3] };
  assert.deepEqual([...(cells.maskedCells(grid, keys, 1) ?? [])], [0, 0, 1, 0, 0, 1, 0, 0, 1]);
  const heads = { data: Uint8Array.of(1, 1, 0, 0, 1, 0), shape: [2, 1, 3] };
  assert.deepEqual([...(cells.maskedCells(grid, heads, 1) ?? [])].slice(0, 3), [1, 0, 1]);
  assert.deepEqual([...(cells.maskedCells(grid, heads, -1) ?? [])].slice(0, 3), [0, 0, 1]);
});

test("a thumbnail hides a cell where all that it stands for is masked", () => {
  const grid = { ...GRID, rows: 4, columns: 4 };
  const masked = Uint8Array.of(0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0);
  assert.deepEqual([...(cells.pooledMask(masked, grid, 2, 2) ?? [])], [0, 1, 0, 0]);
  assert.equal(cells.pooledMask(null, grid, 2, 2), null);
});

test("a part is held inside of the map and keeps its size", () => {
  assert.deepEqual(cells.inside({ q0: -2, q1: 1, k0: 4, k1: 8 }, GRID), { q0: 0, q1: 3, k0: 2, k1: 6 });
  assert.deepEqual(cells.inside({ q0: -9, q1: 99, k0: -9, k1: 99 }, GRID), cells.wholeMap(GRID));
  assert.deepEqual(cells.inside({ q0: 2, q1: 2.1, k0: 0, k1: 6 }, GRID), { q0: 2, q1: 4, k0: 0, k1: 6 });
});

test("what is magnified stays under the pointer", () => {
  const part = cells.zoomed({ q0: 0, q1: 4, k0: 0, k1: 8 }, 2, { q: 1, k: 6 });
  assert.deepEqual(part, { q0: 0.5, q1: 2.5, k0: 3, k1: 7 });
  assert.deepEqual(cells.moved(part, 1, -1), { q0: 1.5, q1: 3.5, k0: 2, k1: 6 });
});

test("a position has a cell inside of the map only", () => {
  assert.deepEqual(cells.cellAt(GRID, 4.9, 0), { row: 2, column: 0 });
  for (const [query, key] of [[5, 0], [0, 6], [-0.1, 0], [NaN, 0]]) assert.equal(cells.cellAt(GRID, query, key), null);
});
