import assert from "node:assert/strict";
import { test } from "node:test";
import * as codes from "../../../renderer/attnmon_renderer/view/page/pure/codes.js";
import * as palettes from "../../../renderer/attnmon_renderer/view/page/pure/codes.js";

const PURPLE = 0xff540144;
const YELLOW = 0xff25e7fd;

test("a code is the square root of a share of the largest weight", () => {
  const weights = codes.decode(Uint8Array.of(0, 51, 255), 0.5);
  assert.deepEqual([...weights], [0, 0.5 * (51 / 255) ** 2, 0.5]);
});

test("a scale ends at a round number at or above the largest weight", () => {
  const cases = [[0.41, 0.5], [0.1, 0.1], [0.11, 0.15], [0.95, 1], [0.001, 0.001], [7, 8], [0, 1], [NaN, 1]];
  for (const [largest, top] of cases) assert.equal(codes.roundedTop(largest), top, String(largest));
});

test("a query that sees few keys does not set the scale, and masked cells do not count", () => {
  const columns = 32;
  const values = new Float64Array(2 * columns).fill(0.02);
  values[0] = 1;
  const masked = new Uint8Array(2 * columns);
  masked.fill(1, 1, columns);
  assert.equal(codes.largestTold(values, masked, columns), 0.02);
  assert.equal(codes.largestTold(values, null, columns), 1);
});

test("the ends of a scale have the colours of the first and the last level, masked cells grey", () => {
  const table = codes.colourTable(palettes.WEIGHT_COLOURS, 1, 1);
  const pixels = new Uint32Array(3);
  codes.paintCodes(Uint8Array.of(0, 255, 255), table, Uint8Array.of(0, 0, 1), 7, pixels);
  assert.deepEqual([...pixels], [PURPLE, YELLOW, 7]);
});

test("a weight above the end of a scale has its last colour", () => {
  assert.equal(codes.colourTable(palettes.WEIGHT_COLOURS, 1, 0.25)[128], YELLOW);
});

test("no change is the middle, less is blue, more is red, and both reach the end", () => {
  const colours = palettes.CHANGE_COLOURS;
  const levels = [-2, -1, -0.25, 0, 0.25, 1, 2].map((change) => colours.indexOf(codes.changeColour(change, colours, 1)));
  assert.deepEqual(levels, [0, 0, 20, 40, 60, 79, 79]);
  const pixels = new Uint32Array(2);
  codes.paintChanges(Float64Array.of(-1, 1), colours, 1, Uint8Array.of(0, 1), 7, pixels);
  assert.deepEqual([...pixels], [colours[0], 7]);
  const [red, blue] = [colours[79] & 255, (colours[79] >> 16) & 255];
  assert.ok(red > blue);
});

test("colours are written for CSS, with an ink that can be read on them", () => {
  assert.equal(palettes.css(PURPLE), "rgb(68 1 84)");
  assert.deepEqual([PURPLE, YELLOW].map(palettes.inkOn), ["#fff", "#000"]);
});
