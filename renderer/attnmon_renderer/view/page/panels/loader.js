/** Loads what is looked at, and what is new. */

import { merged, readLines } from "../pure/history.js";
import { effect } from "../pure/signals.js";
import { loadBeside, loadShown } from "./map_loader.js";
import { Refused, getHistory, getRun, getRuns, told } from "./server.js";
import * as store from "./store.js";

const [RUNS_MS, AGAIN_MS] = [10000, 3000];
const [CLOCK_MS, SHOWN_MS, ASLEEP_SECONDS] = [1000, 500, 30];

/** The server's answer where a history is shorter than what was read of it: it is another one. */
const SHORTER = 416;

/** Begins to load, and goes on as long as the page is open. */
export function begin() {
  setInterval(tick, CLOCK_MS);
  setInterval(() => document.hidden || refreshRuns(), RUNS_MS);
  document.addEventListener("visibilitychange", listen);
  listen();
  load();
}

/** Loads what is looked at now and from now on. */
export function load() {
  refreshRuns();
  effect(() => void (store.runId.value !== null && refresh(store.stateOf(store.runId.value))));
  effect(() => void (store.otherState.value && refresh(store.otherState.value)));
  effect(loadShown);
  effect(loadBeside);
}

/** @type {Promise<void> | null} the list of runs that is on its way: all who ask meanwhile get it */
let runsUnderWay = null;

function refreshRuns() {
  runsUnderWay ??= told(getRuns).then((runs) => {
    runsUnderWay = null;
    if (runs) store.runs.value = runs;
  });
}

/** @type {Map<store.RunState, boolean>} whether there is news while it is being read */
const underWay = new Map();

/**
 * Reads what is new of a run; if that is under way, once more afterwards.
 * @param {store.RunState} state
 */
async function refresh(state) {
  if (underWay.has(state)) {
    underWay.set(state, true);
    return;
  }
  let isRead;
  do {
    underWay.set(state, false);
    isRead = await told(() => readNews(state));
  } while (underWay.get(state));
  underWay.delete(state);
  if (!isRead && isLookedAt(state.id)) setTimeout(() => refresh(state), AGAIN_MS);
}

/** @param {string} run */
function isLookedAt(run) {
  return run === store.runId.value || run === store.place.other.value;
}

/**
 * Reads on; from the beginning where another run has begun in the place of this one.
 * @param {store.RunState} state
 */
async function readNews(state) {
  try {
    return await readOn(state);
  } catch (error) {
    if (!(error instanceof Refused && error.status === SHORTER)) throw error;
    [state.cursor, state.facts.value, state.rows.value] = [null, null, []];
    return readOn(state);
  }
}

/** @param {store.RunState} state */
async function readOn(state) {
  const known = state.facts.held;
  const facts = await getRun(state.id, known?.cursor ?? null);
  const isAnother = known && known.run.id !== facts.run.id;
  if (isAnother || Number(facts.cursor) < Number(known?.cursor)) throw new Refused(SHORTER, state.id);
  state.facts.value = { ...facts, captures: withNews(state, facts.captures) };
  let rows = state.rows.value;
  try {
    for (let shownAt = -Infinity; ; ) {
      const { text, cursor } = await getHistory(state.id, state.cursor);
      if (text) rows = merged(rows, readLines(text));
      if (cursor === state.cursor) return true;
      if (Number(cursor) < Number(state.cursor)) throw new Refused(SHORTER, state.id);
      state.cursor = cursor;
      if (performance.now() - shownAt < SHOWN_MS) continue; // a long one comes in many parts
      state.rows.value = rows;
      shownAt = performance.now();
    }
  } finally {
    state.rows.value = rows;
  }
}

/**
 * A folder that was drawn again has another key.
 * @param {store.RunState} state
 * @param {CaptureLine[]} news
 */
function withNews(state, news) {
  const known = state.facts.value?.captures ?? [];
  return [...new Map([...known, ...news].map((capture) => [capture.folder, capture])).values()];
}

/** @type {EventSource | null} */
let events = null;

/**
 * Follows what the server tells, as long as the page is seen: a browser opens six connections to a
 * host for all of its tabs together. A new stream begins with how all runs stand.
 */
function listen() {
  events?.close();
  events = document.hidden ? null : new EventSource("api/v1/events");
  if (events) hear(events);
}

/** @param {EventSource} stream */
function hear(stream) {
  stream.onmessage = ({ data }) => {
    const { run } = JSON.parse(data);
    if (isLookedAt(run)) refresh(store.stateOf(run));
    else refreshRuns();
  };
  stream.onopen = () => (store.trouble.value = "");
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, RUNS_MS);
    refreshRuns(); // which says what is wrong
  };
}

/** A machine that slept may have lost its connection, and would never hear of it. */
function tick() {
  const now = Date.now() / 1000;
  if (now - store.clock.held > ASLEEP_SECONDS) listen();
  store.clock.value = now;
}
