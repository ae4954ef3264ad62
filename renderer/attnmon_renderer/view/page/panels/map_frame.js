/** Where a map, its labels and its cells lie on a canvas. */

export const FONT = "12px system-ui, 'DejaVu Sans', sans-serif";
const LONGEST = 76;
const LEAST_LABEL = 11;
const [MOST_STRETCH, EDGE] = [2.5, 8];

export class MapFrame {
  /**
   * @param {Part} part
   * @param {{queries: string[] | null, keys: string[] | null}} tokens
   * @param {(text: string) => number} measure width of a text
   * @param {number} width of the canvas
   * @param {number} most height of the canvas, at most
   * @param {{right: number, bottom: number}} room beside the map
   */
  constructor(part, tokens, measure, width, most, room) {
    this.part = part;
    this.tokens = tokens;
    this.room = room;
    const left = tokens.queries ? longest(tokens.queries, part.q0, part.q1, measure) : measure("0000");
    const top = tokens.keys ? longest(tokens.keys, part.k0, part.k1, measure) : 14;
    this.box = fit(part, left + 24, top + 22, width - room.right, most - room.bottom);
    this.height = this.box.top + this.box.height + EDGE + room.bottom;
  }

  /** A smaller one where rows are narrow. */
  get font() {
    return this.tokens.queries && this.perQuery < 13 ? FONT.replace("12px", "10px") : FONT;
  }

  get perQuery() {
    return this.box.height / (this.part.q1 - this.part.q0);
  }

  get perKey() {
    return this.box.width / (this.part.k1 - this.part.k0);
  }

  /** @param {number} key */
  x(key) {
    return this.box.left + (key - this.part.k0) * this.perKey;
  }

  /** @param {number} query */
  y(query) {
    return this.box.top + (query - this.part.q0) * this.perQuery;
  }

  /**
   * The position at a pixel; null beside the map.
   * @param {number} x
   * @param {number} y
   */
  positionAt(x, y) {
    const { left, top, width, height } = this.box;
    if (x < left || y < top || x >= left + width || y >= top + height) return null;
    return {
      q: this.part.q0 + (y - top) / this.perQuery,
      k: this.part.k0 + (x - left) / this.perKey,
    };
  }

  /** Labels of queries: a text and the pixel of its middle. */
  queryLabels() {
    const isToken = this.tokens.queries !== null && this.perQuery >= LEAST_LABEL;
    const room = isToken ? this.perQuery : this.perQuery / 2;
    return labels(this.tokens.queries, this.part.q0, this.part.q1, room, (q) => this.y(q));
  }

  /**
   * Whether the labels of keys are too wide to lie.
   * @param {(text: string) => number} measure
   */
  isUpright(measure) {
    const { k0, k1 } = this.part;
    const seen = this.tokens.keys?.slice(Math.floor(k0), Math.ceil(k1)) ?? [];
    return this.perKey >= LEAST_LABEL && seen.some((token) => measure(token) > this.perKey - 2);
  }

  keyLabels() {
    const isToken = this.tokens.keys !== null && this.perKey >= LEAST_LABEL;
    const room = isToken ? this.perKey : this.perKey / 2.4; // numbers lie, and need more
    return labels(this.tokens.keys, this.part.k0, this.part.k1, room, (k) => this.x(k));
  }
}

/** @param {string[]} tokens @param {number} start @param {number} end @param {(text: string) => number} measure */
function longest(tokens, start, end, measure) {
  const seen = tokens.slice(Math.floor(start), Math.ceil(end));
  return Math.min(LONGEST, Math.max(measure("000"), ...seen.map(measure)));
}

/**
 * The largest box with cells that are square, or nearly so where the map is very long.
 * @param {Part} part
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} most
 * @returns {Box}
 */
function fit(part, left, top, width, most) {
  const ratio = (part.q1 - part.q0) / (part.k1 - part.k0);
  const held = Math.min(Math.max(ratio, 1 / MOST_STRETCH), MOST_STRETCH);
  const [roomX, roomY] = [Math.max(40, width - left - EDGE), Math.max(40, most - top - EDGE)];
  const inner = Math.min(roomX, roomY / held);
  return { left, top, width: inner, height: inner * held };
}

/**
 * @param {string[] | null} tokens
 * @param {number} start
 * @param {number} end
 * @param {number} room pixels a position
 * @param {(position: number) => number} pixel
 */
function labels(tokens, start, end, room, pixel) {
  const step = tokens && room >= LEAST_LABEL ? 1 : roundStep(LEAST_LABEL / room);
  const found = [];
  const first = Math.ceil(start / step - 0.001) * step;
  for (let position = first; position + 0.5 <= end; position += step) {
    const text = tokens && step === 1 ? tokens[position] : String(position);
    found.push({ text, pixel: pixel(position + 0.5) });
  }
  return found;
}

/** @param {number} least */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return power * ([1, 2, 5].find((step) => step * power >= least) ?? 10);
}

/**
 * The text, cut where it is too long.
 * @param {string} text
 * @param {(text: string) => number} measure
 * @param {number} [most]
 */
export function cut(text, measure, most = LONGEST) {
  if (measure(text) <= most) return text;
  let length = text.length;
  while (length > 1 && measure(`${text.slice(0, length)}…`) > most) length -= 1;
  return `${text.slice(0, length)}…`;
}
