/** What is looked at and what is known of it: the one state of the page. */

import { parse } from "../pure/address.js";
import { nearest } from "../pure/curves.js";
import { Computed, Signal } from "../pure/signals.js";

/** A run with its history, whose cursor is where to read on. */
export class RunState {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.facts = new Signal(/** @type {Run | null} */ (null));
    this.rows = new Signal(/** @type {HistoryRow[]} */ ([]));
    /** @type {string | null} */
    this.cursor = null;
    this.captures = new Computed(() => sortedByStep(this.facts.value?.captures ?? []));
    this.steps = new Computed(() => this.captures.value.map((capture) => capture.step));
  }

  /**
   * The capture of a step, or the one that is nearest; the newest for null.
   * @param {number | null} step
   * @returns {CaptureLine | undefined}
   */
  capture(step) {
    const captures = this.captures.value;
    return step === null ? captures.at(-1) : captures[nearest(this.steps.value, step)];
  }

  /**
   * The line of the history for a step.
   * @param {number | undefined} step
   */
  row(step) {
    const rows = this.rows.value;
    if (step === undefined || !rows.length) return undefined;
    let [low, high] = [0, rows.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].step < step) low = middle + 1;
      else high = middle;
    }
    return rows[low].step === step ? rows[low] : undefined;
  }
}

/** What is looked at, as the address keeps it. */
export const place = signals(parse(location.search));
export const runs = new Signal(
  /** @type {RunLine[] | null} */ (null),
);
/** Why nothing comes from the server; empty if all is well. */
export const trouble = new Signal("");
export const isDark = new Signal(false);
export const spot = new Signal(/** @type {Spot | null} */ (null));
export const shown = new Signal(/** @type {Shown | null} */ (null));
export const beside = new Signal(/** @type {Shown | null} */ (null));
/** Why there is no second map; empty if there is one. */
export const besideMissing = new Signal("");
export const isPlaying = new Signal(false);
export const muted = new Signal(/** @type {ReadonlySet<string>} */ (new Set()));
/** Seconds since 1970. */
export const clock = new Signal(Date.now() / 1000);

export const runId = new Computed(() => place.run.value ?? runs.value?.[0]?.id ?? null);

/** @type {Map<string, RunState>} */
const states = new Map();

/**
 * What is known of a run.
 * @param {string} id
 */
export function stateOf(id) {
  const state = states.get(id) ?? new RunState(id);
  states.set(id, state);
  return state;
}

export const runState = new Computed(() => (runId.value === null ? null : stateOf(runId.value)));
export const otherState = new Computed(() =>
  place.other.value === null ? null : stateOf(place.other.value),
);
export const current = new Computed(() => runState.value?.capture(place.step.value));

/**
 * A and B: of two runs the one that is looked at and the other; of two steps of a run the one that is
 * compared with and the one that is looked at, so that B − A is what has changed since.
 */
export const pair = new Computed(() => {
  const [here, there] = [shown.value, beside.value];
  if (!here || !there || place.view.value === "map") return null;
  return place.other.value === null ? { a: there, b: here } : { a: here, b: there };
});

/** @type {{stem: string, heads: number[]}[]} */
let lastLayout = [];

/** The layers with their heads: the same as long as they do not change from capture to capture. */
export const layout = new Computed(() => {
  /** @type {{stem: string, heads: number[]}[]} */
  const layers = (shown.value?.capture.layers ?? []).map(({ stem, heads }) => ({ stem, heads }));
  if (JSON.stringify(layers) !== JSON.stringify(lastLayout)) lastLayout = layers;
  return lastLayout;
});
/** The layer and the head that are on show. */
export const stemShown = new Computed(() => shown.value?.layer.stem ?? place.layer.value);
export const headShown = new Computed(() => shown.value?.head ?? place.head.value);

/** The capture that the current one is compared with, and its run. */
export const against = new Computed(() => {
  const here = current.value;
  const state = otherState.value ?? runState.value;
  if (!here || !state) return null;
  const capture = captureAgainst(state, here);
  return capture ? { run: state.id, capture } : null;
});

/** @param {RunState} state @param {CaptureLine} here */
function captureAgainst(state, here) {
  const [named, other, tied] = [place.against.value, place.other.value, place.tied.value];
  const captures = state.captures.value;
  if (other !== null && tied) return state.capture(here.step);
  if (named === "first") return captures[0];
  if (named !== "previous") return state.capture(Number(named));
  const index = captures.findIndex((capture) => capture.step >= here.step);
  return captures[(index < 0 ? captures.length : index) - 1];
}

/** @param {CaptureLine[]} captures */
function sortedByStep(captures) {
  return [...captures].sort((a, b) => a.step - b.step);
}

/**
 * A signal for each part of a place.
 * @param {Place} start
 * @returns {{[Name in keyof Place]: Signal<Place[Name]>}}
 */
function signals(start) {
  const pairs = Object.entries(start).map(([name, value]) => [name, new Signal(value)]);
  return Object.fromEntries(pairs);
}

/**
 * The present place.
 * @returns {Place}
 */
export function placeNow() {
  const pairs = Object.entries(place).map(([name, signal]) => [name, signal.value]);
  return Object.fromEntries(pairs);
}
