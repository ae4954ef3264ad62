/**
 * Values that tell who read them when they change.
 *
 * `effect` runs a function now, and again when a value that it has read is another one; several
 * changes in a row lead to one run. A `Computed` is worked out from others when it is read.
 */

/** @typedef {Signal<any> | Computed<any>} Source */
/** @typedef {{sources: Map<Source, number>, changed: () => void}} Reader what it read, which version */

/** @type {Reader | null} */
let current = null;
/** @type {Set<() => void>} */
const waiting = new Set();

/** @template T */
export class Signal {
  version = 0;
  /** @type {Set<Reader>} */
  readers = new Set();

  /** @param {T} value */
  constructor(value) {
    this.held = value;
  }

  get value() {
    track(this);
    return this.held;
  }

  set value(value) {
    if (Object.is(value, this.held)) return;
    this.held = value;
    this.version += 1;
    for (const reader of [...this.readers]) reader.changed();
  }

  refresh() {}
}

/** @template T */
export class Computed {
  version = 0;
  /** @type {Set<Reader>} */
  readers = new Set();
  /** @type {Map<Source, number>} */
  sources = new Map();
  isStale = true;
  /** @type {T | undefined} */
  held = undefined;

  /** @param {() => T} work */
  constructor(work) {
    this.work = work;
  }

  get value() {
    this.refresh();
    track(this);
    return /** @type {T} */ (this.held);
  }

  changed() {
    if (this.isStale) return;
    this.isStale = true;
    for (const reader of [...this.readers]) reader.changed();
  }

  refresh() {
    if (!this.isStale) return;
    if (this.version === 0 || hasNews(this)) {
      const value = run(this, this.work);
      if (this.version === 0 || !Object.is(value, this.held)) this.version += 1;
      this.held = value;
    }
    this.isStale = false;
  }
}

/**
 * Returns a function that ends it.
 * @param {() => void} work
 */
export function effect(work) {
  /** @type {Reader} */
  const reader = { sources: new Map(), changed: () => later(again) };
  const again = () => {
    if (hasNews(reader)) run(reader, work);
  };
  run(reader, work);
  return () => {
    forget(reader);
    waiting.delete(again);
  };
}

/** @param {Source} source */
function track(source) {
  if (!current) return;
  source.readers.add(current);
  current.sources.set(source, source.version);
}

/** @param {Reader} reader */
function hasNews(reader) {
  for (const [source, version] of reader.sources) {
    source.refresh();
    if (source.version !== version) return true;
  }
  return false;
}

/** @param {Reader} reader */
function forget(reader) {
  for (const source of reader.sources.keys()) source.readers.delete(reader);
  reader.sources.clear();
}

/** @template T @param {Reader} reader @param {() => T} work */
function run(reader, work) {
  forget(reader);
  const outer = current;
  current = reader;
  try {
    return work();
  } finally {
    current = outer;
  }
}

/** @param {() => void} again */
function later(again) {
  if (waiting.size === 0) queueMicrotask(flush);
  waiting.add(again);
}

function flush() {
  try {
    for (const again of waiting) {
      waiting.delete(again);
      again();
    }
  } finally {
    if (waiting.size > 0) queueMicrotask(flush); // one that failed does not hold up the others
  }
}
