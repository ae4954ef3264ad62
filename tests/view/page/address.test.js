import assert from "node:assert/strict";
import { test } from "node:test";
import { START, format, parse } from "../../../renderer/attnmon_renderer/view/page/pure/address.js";
import * as words from "../../../renderer/attnmon_renderer/view/page/pure/words.js";

test("an address says again what it was made from", () => {
  const place = {
    ...START, screen: /** @type {const} */ ("compare"), run: "a b&c", step: -5, layer: "encoder_layer2_self_attn", head: "3",
    view: /** @type {const} */ ("both"), against: "100", other: "é", tied: false, scale: "0.15", full: true,
    partner: "encoder_layer2_self_attn:3:5", part: { q0: 0.25, q1: 8, k0: 1, k1: 2.5 },
  };
  assert.deepEqual(parse(format(place)), place);
  assert.equal(format(START), "");
});

test("what an address has that is not meant is as at the start", () => {
  const query = "?screen=x&layer=x<y>&step=1e9&head=../&view=javascript:&against=;&scale=-1&part=1,0,0,1&nosuch=1&constructor=1&__proto__=1";
  assert.deepEqual(parse(query), START);
  assert.deepEqual(parse("?part=NaN,1,2,3"), START);
});

test("numbers are short, and have a minus sign of their own", () => {
  const cases = [[0, "0"], [0.41234, "0.412"], [-2.5, "−2.5"], [12345.6, "12,346"], [1e-5, "1.0e−5"], [-3.9e-11, "−3.9e−11"], [null, "–"], [NaN, "–"]];
  for (const [value, text] of cases) assert.equal(words.short(/** @type {number | null} */ (value)), text);
  assert.deepEqual([words.signed(0.5), words.signed(-0.5), words.signed(0)], ["+0.5", "−0.5", "0"]);
  assert.deepEqual([words.whole(12400), words.whole(-1234567), words.whole(5)], ["12,400", "-1,234,567", "5"]);
});

test("ages are in the unit that fits", () => {
  assert.deepEqual([4, 200, 9000, 400000].map(words.age), ["4 s", "3 min", "3 h", "5 days"]);
});

test("tokens can be seen, and cannot turn the line around", () => {
  assert.equal(words.visible(" a\n"), "␣a⏎");
  assert.equal(words.visible("a\u202eb\u0000"), "a\ufffdb\ufffd");
  assert.equal(words.tokensAt(["a", " ", "c"], [1, 2]), "␣c");
  assert.equal(words.tokensAt(null, [0, 0]), "");
  assert.deepEqual([words.positions([3, 3]), words.positions([4, 7])], ["3", "4–7"]);
});
