import assert from "node:assert/strict";
import { test } from "node:test";
import { Computed, Signal, effect } from "../../../renderer/attnmon_renderer/view/page/pure/signals.js";

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

test("an effect runs at once, and once for several changes", async () => {
  const [a, b, seen] = [new Signal(1), new Signal(10), /** @type {number[]} */ ([])];
  effect(() => seen.push(a.value + b.value));
  a.value = 2;
  b.value = 20;
  await settled();
  assert.deepEqual(seen, [11, 22]);
});

test("who reads a value that stays the same is left alone", async () => {
  const a = new Signal(1);
  const isOdd = new Computed(() => a.value % 2 === 1);
  let runs = 0;
  effect(() => void (isOdd.value, (runs += 1)));
  a.value = 3;
  await settled();
  assert.equal(runs, 1);
  a.value = 4;
  await settled();
  assert.equal(runs, 2);
});

test("a computed value is never of the past, and is worked out when it is read", () => {
  const a = new Signal(1);
  let works = 0;
  const double = new Computed(() => ((works += 1), 2 * a.value));
  const four = new Computed(() => 2 * double.value);
  assert.equal(works, 0);
  assert.equal(four.value, 4);
  a.value = 5;
  assert.equal(four.value, 20);
  assert.equal(works, 2);
});

test("what was read the last time counts, not what was read before", async () => {
  const [choice, a, b] = [new Signal("a"), new Signal(1), new Signal(2)];
  let runs = 0;
  effect(() => void ((runs += 1), choice.value === "a" ? a.value : b.value));
  choice.value = "b";
  await settled();
  a.value = 99;
  await settled();
  assert.equal(runs, 2);
});

test("an effect that has ended runs no more, even if it was about to", async () => {
  const a = new Signal(1);
  let runs = 0;
  const end = effect(() => void (a.value, (runs += 1)));
  a.value = 2;
  end();
  await settled();
  a.value = 3;
  await settled();
  assert.equal(runs, 1);
});

test("an effect that fails does not hold up the others", async (context) => {
  const [a, seen] = [new Signal(1), /** @type {number[]} */ ([])];
  const failures = /** @type {unknown[]} */ ([]);
  context.mock.method(globalThis, "queueMicrotask", (/** @type {() => void} */ work) =>
    setImmediate(() => {
      try {
        work();
      } catch (error) {
        failures.push(error);
      }
    }),
  );
  effect(() => {
    if (a.value === 2) throw new Error("on purpose");
  });
  effect(() => void seen.push(a.value));
  a.value = 2;
  await settled();
  await settled();
  assert.deepEqual(seen, [1, 2]);
  assert.equal(failures.length, 1);
});
