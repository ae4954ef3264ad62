import assert from "node:assert/strict";
import { test } from "node:test";
import * as history from "../../../renderer/attnmon_renderer/view/page/pure/history.js";
import { byChange, changes, layerName } from "../../../renderer/attnmon_renderer/view/page/pure/history.js";

/** @param {number} step @param {(number | null)[]} entropy */
const line = (step, entropy) =>
  JSON.stringify({
    metadata: { step, epoch: null, loss: step / 10, timestamp: 7 },
    encoder: [],
    decoder: [{ layer: 1, type: "cross_attention", heads: { entropy }, head_indices: [0, 4] }],
  });
const STEM = "decoder_layer1_cross_attn";

test("lines become rows; what is no capture is left out", () => {
  const rows = history.readLines(`${line(1, [0.5, 0.25])}\nnonsense\n{}\n{"metadata": {"step": "x"}}\n`);
  assert.equal(rows.length, 1);
  assert.deepEqual([rows[0].step, rows[0].loss, rows[0].time, rows[0].epoch], [1, 0.1, 7, null]);
  assert.equal(history.headValue(rows[0], STEM, 4, "entropy"), 0.25);
  assert.equal(history.layerMean(rows[0], STEM, "entropy"), 0.375);
});

test("what is not known is null", () => {
  const [row] = history.readLines(line(1, [null, 0.25]));
  assert.equal(history.headValue(row, STEM, 0, "entropy"), null);
  assert.equal(history.layerMean(row, STEM, "entropy"), 0.25);
  for (const [stem, head, name] of [["x", 0, "entropy"], [STEM, 9, "entropy"], [STEM, 0, "x"]]) {
    assert.equal(history.headValue(row, String(stem), Number(head), String(name)), null);
  }
  assert.equal(history.headValue(undefined, STEM, 0, "entropy"), null);
});

test("a step that came again counts as it was the last time", () => {
  const [first, second] = [history.readLines(`${line(1, [1, 1])}\n${line(2, [1, 1])}`), history.readLines(line(1, [0, 0]))];
  const rows = history.merged(first, second);
  assert.deepEqual(rows.map(({ step }) => step), [1, 2]);
  assert.equal(history.layerMean(rows[0], STEM, "entropy"), 0);
  assert.deepEqual(history.merged(first, history.readLines(line(3, [1, 1]))).map(({ step }) => step), [1, 2, 3]);
});

test("heads are sorted by how much they changed, those that nothing is known of last", () => {
  const [now] = history.readLines(line(2, [0.5, 0.9]));
  const [then] = history.readLines(line(1, [0.75, 0.1]));
  const layers = [{ stem: STEM, heads: [0, 4] }, { stem: "encoder_layer0_self_attn", heads: [0] }];
  const places = changes(layers, "entropy", now, then);
  assert.deepEqual(places.map(({ change }) => change), [-0.25, 0.8, null]);
  assert.deepEqual(byChange(places).map(({ head, stem }) => [stem, head]), [[STEM, 4], [STEM, 0], ["encoder_layer0_self_attn", 0]]);
});

test("a stem says role, layer and type, and nothing else is a stem", () => {
  assert.deepEqual(layerName(STEM), { role: "decoder", layer: 1, type: "cross", kind: "decoder cross" });
  assert.equal(layerName("encoder_layer2_self_attn")?.kind, "encoder");
  assert.equal(layerName("decoder_layer0_cross_attn/../x"), null);
});
