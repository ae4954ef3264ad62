import assert from "node:assert/strict";
import { test } from "node:test";
import * as distance from "../../../renderer/attnmon_renderer/view/page/pure/distance.js";

const close = (/** @type {number | null} */ a, /** @type {number} */ b) =>
  assert.ok(a !== null && Math.abs(a - b) < 1e-12, `${a} is not ${b}`);

test("a row's entropy and effective keys", () => {
  const facts = distance.rowFacts(Float64Array.of(0.25, 0, 0.5, 0.25));
  assert.equal(facts.total, 1);
  close(facts.bits, 1.5);
  close(facts.effective, 2 ** 1.5);
  assert.equal(distance.rowFacts(Float64Array.of(0, 0)).effective, 0);
});

test("the mean of a column leaves out what is masked", () => {
  const weights = Float64Array.of(0.5, 0.1, 0.2, 0.3);
  assert.equal(distance.columnMean(weights, null, 2, 0), 0.35);
  assert.equal(distance.columnMean(weights, Uint8Array.of(1, 0, 0, 0), 2, 0), 0.2);
});

test("the distance of rows is 0 for the same, 1 for those that share no key", () => {
  const [a, b] = [Float64Array.of(0.5, 0.5, 0), Float64Array.of(0, 0, 0.2)];
  assert.equal(distance.jensenShannon(a, a), 0);
  assert.equal(distance.jensenShannon(a, b), 1);
  assert.equal(distance.jensenShannon(a, Float64Array.of(0, 0, 0)), null);
  // By hand: p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4).
  const byHand = 0.5 * Math.log2(4 / 3) + 0.5 * (0.5 * Math.log2(2 / 3) + 0.5 * Math.log2(2));
  close(distance.jensenShannon(Float64Array.of(1, 0), Float64Array.of(0.5, 0.5)), byHand);
});

test("the distance of maps is the mean over the rows that have weights in both", () => {
  const a = Float64Array.of(1, 0, 1, 0, 0, 0);
  const b = Float64Array.of(1, 0, 0, 1, 1, 0);
  assert.equal(distance.meanDistance(a, b, 2), 0.5);
  assert.equal(distance.meanDistance(new Float64Array(4), new Float64Array(4), 2), null);
});

test("a difference is B − A", () => {
  assert.deepEqual([...distance.difference(Float64Array.of(0.25, 1), Float64Array.of(0.5, 0))], [0.25, -1]);
});
