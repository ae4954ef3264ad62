/* The types of the page's modules, known to all of them. TypeScript reads this; nothing of it runs. */

// What is looked at

/** As the query of the page's address keeps it. */
interface Place {
  screen: "live" | "compare" | "run" | "runs";
  /** null: the newest */
  run: string | null;
  /** null: the newest, whatever comes */
  step: number | null;
  /** stem */
  layer: string | null;
  /** a number, or "mean" */
  head: string;
  view: "map" | "both" | "difference";
  /** step to compare with: "first", "previous" or a number */
  against: string;
  /** run to compare with */
  other: string | null;
  /**
   * A layer, a head of A, and the head of B that is beside it: "decoder_layer0_self_attn:3:5"; null and
   * elsewhere: heads of the same number.
   */
  partner: string | null;
  /** whether the other run follows the step */
  tied: boolean;
  /** of layers shown; "" is all */
  kind: string;
  sort: "layer" | "change";
  statistic: string;
  /** "shared", "own", or where a scale that is held ends */
  scale: string;
  /** null: the whole map */
  part: Part | null;
  full: boolean;
  align: "step" | "loss" | "end";
  /** of the curves */
  axis: "step" | "time";
}

/** A part of a map, in positions: the first, and the one after the last. */
type Part = { q0: number; q1: number; k0: number; k1: number };

/** A place on the maps, in positions. One that is locked stays when the pointer leaves. */
type Spot = { query: number; key: number; isLocked: boolean };

// What is shown

/** How a map lies over the positions. */
interface Grid {
  rows: number;
  columns: number;
  queries: number;
  keys: number;
  /** queries a cell */
  query_step: number;
  /** keys a cell */
  key_step: number;
  causal: boolean;
  /** keys of a prefix, before the first query's own */
  earlier: number;
}

/** One map, as it was loaded. */
interface Shown {
  run: string;
  capture: Capture;
  layer: LayerMaps;
  head: string;
  codes: Uint8Array;
  scale: number;
  weights: Float64Array;
  masked: Uint8Array | null;
  /** mean weight that the keys of a column get */
  received: number[] | null;
  /** position of the key that each row attends to most */
  strongest: number[] | null;
}

type Pair = { a: Shown; b: Shown };

/** What a map canvas shows. */
interface Content {
  /** whose cells and tokens these are */
  map: Shown;
  values: Float64Array;
  masked: Uint8Array | null;
  pixels: Uint32Array;
  /** where the scale ends */
  top: number;
  isChange: boolean;
  title: string;
}

type Box = { left: number; top: number; width: number; height: number };
type Thumb = { codes: Uint8Array; scale: number; top: number; masked: Uint8Array | null; shape: [number, number]; changes?: Float64Array };
/** The small maps of a capture. */
type Thumbs = { layers: LayerMaps[]; codes: Uint8Array };
type Point = { x: number; y: number | null };
type Curve = { className: string; values: (number | null)[] };
type Lane = { title: string; ends: [number, number]; curves: Curve[] };
type HeadPlace = { stem: string; head: number; change: number | null };
type Child = Node | string | null | undefined | false;

// A line of `history.jsonl`

/** One capture. */
interface HistoryRow {
  step: number;
  epoch: number | null;
  loss: number | null;
  /** seconds since 1970 */
  time: number | null;
  /** by the stem of their pictures */
  layers: Map<string, LayerRow>;
}

/** The statistics of a layer's heads, by name; null is a number that is not finite. */
type LayerRow = { heads: number[]; values: Record<string, (number | null)[]> };

// The server's answers

/** A run in the list of runs. */
interface RunLine {
  id: string;
  title: string;
  directory: string;
  state: string;
  alive: boolean;
  step: number | null;
  loss: number | null;
  /** seconds since 1970 */
  updated: number | null;
  captures: number;
  alerts: number;
  ranks: number[] | null;
}

/** A capture in a run. */
interface CaptureLine {
  /** its key in addresses */
  c: string;
  step: number;
  folder: string;
  epoch: number | null;
  /** whether there are maps to draw */
  maps: boolean;
  /** file names */
  pictures: string[];
}

interface Alert {
  id: string;
  rule: string;
  severity: "info" | "warn" | "error";
  state: "firing" | "resolved";
  step: number;
  role: string | null;
  layer: number | null;
  heads: number[] | null;
  text: string;
  try?: string;
}

/** A layer of a run. */
interface LayerLine {
  stem: string;
  role: string;
  layer: number;
  type: string;
  heads: number | null;
  name: string | null;
  source: string | null;
  note: string;
}

interface Run {
  id: string;
  title: string;
  state: string;
  alive: boolean;
  summary: Record<string, any>;
  run: Record<string, any>;
  layers: LayerLine[];
  captures: CaptureLine[];
  alerts: Alert[];
  damages: string[];
  troubles?: string[];
  /** captures that are noticed later are new */
  cursor: string | null;
}

/** The maps of a layer. */
interface LayerMaps extends Grid {
  stem: string;
  /** their numbers */
  heads: number[];
  note: string;
  sampled: number | null;
  non_finite: number;
  /** heads of which nothing was recorded */
  missing: number[];
  /** largest weight of each head */
  scale: number[];
  /** where its small maps begin among those of all layers */
  thumbs_at: number;
  /** heads, rows, columns */
  thumbs_shape: [number, number, number];
  /** base64 */
  allowed: string;
  allowed_shape: number[];
}

/** The index of a capture. */
interface Capture {
  c: string;
  step: number;
  epoch: number | null;
  loss: number | null;
  tokens: { encoder: string[]; decoder: string[] } | null;
  layers: LayerMaps[];
  pictures: string[];
  /** what of the maps is left out, and why */
  damages?: string[];
}

/** Cells of one map or several. */
interface Codes {
  data: Uint8Array;
  shape: number[];
  scale: number;
  /** mean weight that the keys of a column get */
  received: number[] | null;
  /** position of the key that each row attends to most */
  strongest: number[] | null;
}

/** A number in both runs. */
interface NumberRow {
  role: string;
  layer: number;
  /** null for a number of the layer as a whole */
  head: number | null;
  statistic: string;
  a: number | null;
  b: number | null;
  delta: number | null;
  /** how much it moves by itself */
  wobble?: number | null;
  /** how many wobbles the difference is */
  times?: number | null;
}

interface RunInfo {
  name: string;
  state: string;
  captures: number;
  step: number | null;
  loss: number | null;
}

/** One quantity in both runs: points [x, y]. */
interface CurvePair {
  quantity: string;
  role?: string;
  layer?: number;
  a: [number, number][];
  b: [number, number][];
}

interface Comparison {
  comparable: boolean;
  why: string[];
  settings: Record<string, [any, any]>;
  verdict: string;
  reason: string;
  meaning: string;
  align: "step" | "loss" | "end";
  at: number | null;
  a: RunInfo[];
  b: RunInfo[];
  curves: CurvePair[];
  damages: string[];
  layers: NumberRow[];
  matching: Matching | null;
}

/** How far maps are apart, in bits. */
interface Matching {
  steps: [number, number];
  /** whether the distances are lower bounds */
  at_least: boolean;
  numbered: number | null;
  matched: number | null;
  wobble: number | null;
  heads: number;
  moved: number;
  layers: MatchedLayer[];
}

interface MatchedLayer {
  role: string;
  layer: number;
  heads: MatchedPair[];
}

type MatchedPair = { a: number; b: number; distance: number | null; numbered: number | null };

// A document, which has the answers in it

/** What it has of a layer's maps: which mask, and where its codes lie. */
interface PackedMaps extends Omit<LayerMaps, "allowed"> {
  mask: number;
  at: number;
  length: number;
}

interface PackedCapture extends Omit<Capture, "tokens" | "layers"> {
  text: number;
  layers: PackedMaps[];
}

/** By what the server would be asked. */
interface Inlined {
  answers: Record<string, string>;
  captures: Record<string, PackedCapture>;
  /** of which a capture names one */
  texts: ({ encoder: string[]; decoder: string[] } | null)[];
  /** base64 */
  masks: string[];
}
