import assert from "node:assert/strict";
import { test } from "node:test";
import * as curves from "../../../renderer/attnmon_renderer/view/page/pure/curves.js";

test("ticks are round numbers between the ends", () => {
  assert.deepEqual(curves.ticks(0, 1180, 6), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(curves.ticks(0.12, 0.31, 4), [0.15, 0.2, 0.25, 0.3]);
});

test("a scale leads from numbers to pixels, also backwards and where both ends are equal", () => {
  assert.equal(curves.scale(0, 10, 100, 0)(2.5), 75);
  assert.equal(curves.scale(3, 3, 0, 10)(3), 0);
});

test("the extent leaves out what is not known", () => {
  assert.deepEqual(curves.extent([null, 2, -1]), [-1, 2]);
  assert.deepEqual(curves.extent([null]), [0, 1]);
  assert.deepEqual(curves.extent([5, 5]), [4.5, 5.5]);
});

test("of many points on a pixel the spike is kept, and no more than four are", () => {
  const points = Array.from({ length: 100000 }, (_, index) => ({ x: index / 1000, y: index === 54321 ? 99 : 1 }));
  const kept = curves.thinned(points);
  assert.ok(kept.some(({ y }) => y === 99));
  assert.ok(kept.length <= 400);
  assert.deepEqual([kept[0], kept.at(-1)], [points[0], points.at(-1)]);
});

test("a curve has a gap where a number is missing", () => {
  const points = [{ x: 0, y: 1 }, { x: 1, y: 2 }, { x: 2, y: null }, { x: 3, y: 4 }, { x: 4, y: 5 }];
  assert.equal(curves.path(points), "M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0");
  assert.equal(curves.path(points.slice(0, 1)), "M0.0 1.0h0.01", "a dot");
});

test("the nearest of sorted numbers", () => {
  const steps = [0, 10, 20];
  const cases = [[-5, 0], [4, 0], [6, 1], [20, 2], [99, 2], [14.9, 1]];
  for (const [value, index] of cases) assert.equal(curves.nearest(steps, value), index, String(value));
  assert.equal(curves.nearest([], 3), -1);
});

test("seconds go with steps, between rows in proportion, and never back", () => {
  const rows = [[0, 1000], [10, 1060], [20, null], [30, 1040], [40, 1100]].map(([step, time]) => ({ step: Number(step), time }));
  const at = curves.secondsAt(rows);
  assert.ok(at);
  assert.deepEqual([0, 5, 10, 20, 30, 35, 40, 50].map(at), [0, 30, 60, 60, 60, 80, 100, 140]);
  assert.equal(curves.secondsAt(rows.slice(0, 1)), null);
});
