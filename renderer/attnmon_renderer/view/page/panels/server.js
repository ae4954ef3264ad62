/** What the server is asked for; what never changes is kept. */

import { byKind } from "../pure/history.js";
import { answerTo } from "./ask.js";
import { trouble } from "./store.js";

const MOST_BYTES = 96 * 2 ** 20;

/** @type {Record<number, string>} */
const WORDS = {
  403: "this page's token is no longer valid: open the address that `attnmon view` has printed",
  404: "this is not there any more",
  422: "this cannot be read",
};

/** An answer that is no success. */
export class Refused extends Error {
  /** @param {number} status @param {string} path */
  constructor(status, path) {
    super(WORDS[status] ?? `${status} for ${path}`);
    this.status = status;
  }
}

/** @param {string} path below `api/v1/` */
async function ask(path) {
  const answer = await answerTo(path);
  if (!answer.ok) throw new Refused(answer.status, path);
  return answer;
}

/** @param {string[]} parts of a path */
function route(...parts) {
  return parts.map(encodeURIComponent).join("/");
}

/** @returns {Promise<RunLine[]>} */
export async function getRuns() {
  return (await ask("runs")).json();
}

/**
 * @param {string} run
 * @param {string | null} after cursor: captures that are new since; null for all
 * @returns {Promise<Run>}
 */
export async function getRun(run, after) {
  const query = after === null ? "" : `?after=${encodeURIComponent(after)}`;
  return (await ask(route("runs", run) + query)).json();
}

/**
 * Complete lines of the history after the cursor, and the next cursor.
 * @param {string} run
 * @param {string | null} cursor null for the beginning
 */
export async function getHistory(run, cursor) {
  const query = cursor === null ? "" : `?after=${encodeURIComponent(cursor)}`;
  const answer = await ask(`${route("runs", run, "history")}${query}`);
  return { text: await answer.text(), cursor: answer.headers.get("X-Cursor") ?? cursor };
}

/** @param {string} a @param {string} b @param {string} align @returns {Promise<Comparison>} */
export async function getComparison(a, b, align) {
  return (await ask(`compare?${new URLSearchParams({ a, b, align })}`)).json();
}

/** @param {string} run @param {string} c @returns {Promise<Capture>} */
export function getCapture(run, c) {
  return kept(route("runs", run, "captures", c), readCapture);
}

/**
 * The map of a head: its number, or "mean".
 * @param {string} run
 * @param {string} c
 * @param {string} layer
 * @param {string} head
 * @returns {Promise<Codes>}
 */
export function getMap(run, c, layer, head) {
  return kept(route("runs", run, "captures", c, layer, head), readCodes);
}

/**
 * The thumbnails of a layer's heads.
 * @param {string} run
 * @param {string} c
 * @param {string} layer "all" for those of all layers
 * @returns {Promise<Codes>}
 */
export function getThumbs(run, c, layer) {
  return kept(route("runs", run, "captures", c, layer, "thumbs"), readCodes);
}

/**
 * The address of a picture.
 * @param {string} run
 * @param {string} c
 * @param {string} name
 */
export function pictureAddress(run, c, name) {
  return `api/v1/${route("runs", run, "pictures", c, name)}`;
}

/** @param {Response} answer @returns {Promise<[Capture, number]>} */
async function readCapture(answer) {
  const text = await answer.text();
  const capture = JSON.parse(text);
  return [{ ...capture, layers: byKind(capture.layers) }, text.length];
}

/** @param {Response} answer @returns {Promise<[Codes, number]>} */
async function readCodes(answer) {
  const data = new Uint8Array(await answer.arrayBuffer());
  const shape = (answer.headers.get("X-Shape") ?? "").split(",").map(Number);
  const scale = Number(answer.headers.get("X-Scale") ?? "1");
  if (shape.reduce((cells, side) => cells * side, 1) !== data.length) {
    throw new Error(`${data.length} cells where ${shape.join(" × ")} were told`);
  }
  const [received, strongest] = ["X-Received", "X-Strongest"].map((name) => numbers(answer.headers.get(name)));
  return [{ data, shape, scale, received, strongest }, data.length];
}

/** @param {string | null} text numbers between commas */
function numbers(text) {
  return text?.split(",").map((each) => Number(each) || 0) ?? null;
}

/** @type {Map<string, {made: Promise<any>, bytes: number}>} */
const store = new Map();
let bytesKept = 0;

/**
 * What never changes is asked once, and kept until there is too much.
 * @template T
 * @param {string} path
 * @param {(answer: Response) => Promise<[T, number]>} read returns the value and its bytes
 * @returns {Promise<T>}
 */
function kept(path, read) {
  const known = store.get(path);
  if (known) {
    store.delete(path); // and to the end: what is used stays longest
    store.set(path, known);
    return known.made;
  }
  const entry = { made: load(), bytes: 0 };
  async function load() {
    try {
      const [value, bytes] = await read(await ask(path));
      entry.bytes = bytes;
      bytesKept += bytes;
      makeRoom();
      return value;
    } catch (error) {
      store.delete(path);
      throw error;
    }
  }
  store.set(path, entry);
  return entry.made;
}

function makeRoom() {
  for (const [path, { bytes }] of store) {
    if (bytesKept <= MOST_BYTES) return;
    if (bytes === 0) continue; // still under way
    store.delete(path);
    bytesKept -= bytes;
  }
}

/**
 * Does what may fail, and says why it did; until the next that succeeds.
 * @template T
 * @param {() => Promise<T>} work
 */
export async function told(work) {
  try {
    const value = await work();
    trouble.value = "";
    return value;
  } catch (error) {
    const reason = error instanceof TypeError ? "the server does not answer" : String(error);
    trouble.value = error instanceof Refused ? error.message : reason;
    return undefined;
  }
}
