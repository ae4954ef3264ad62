/**
 * From the codes of a map to weights and to colours.
 *
 * A code is round(255 · √(w / s)): w is the weight and s the head's largest one. Colours are those of
 * the pictures: the renderer's `drawing/spec/palettes.py` has the same table, which a test compares. A
 * colour is an unsigned 32-bit number as a canvas keeps it: 0xAABBGGRR.
 */

export const LEVELS = 80;

const WEIGHTS =
  "440154450559460a5d470e6147136548186a481c6e482071482475482979472d7b46307e463480443983433d84" +
  "4240864144873f48893e4c8a3c4f8a3b528b39568c375a8c365d8d34608d32648e31678e306a8e2e6d8e2d708e" +
  "2c738e2a768e29798e287c8e27808e26828e25858e23888e228c8d218f8d20928c1f948c1f988b1e9b8a1f9e89" +
  "1fa18820a48622a78524aa8326ad812ab07f2eb37c32b67a37b8783bbb7542be7148c16e4ec36b54c5685cc863" +
  "63cb5f69cd5b70cf577ad15181d34d89d54890d7439bd93ca2da37aadc32b2dd2dbddf26c5e021cde11dd5e21a" +
  "dfe318e7e419efe51cf6e620fde725";
const CHANGES =
  "05306109376a0c3e7410457d134b871752901a599a1e60a32167ac266caf2a72b22e78b5337db83783bb3b89be" +
  "408ec14594c44f9bc759a1cb63a7ce6daed177b4d581bad88bc1dc94c6df9ccae1a4cee3acd2e6b4d6e8bcdaea" +
  "c4dfeccce3efd3e6f0d8e8f1ddeaf2e1edf3e6eff4ebf1f5f0f4f6f5f6f7f7f5f4f8f2eef9eee8faebe2fae7dc" +
  "fbe4d6fce0d0fddcc9fcd7c2fbd0b9fac9b0f9c2a8f8bc9ff7b596f5ae8df4a785f19f7dee9677ea8d70e68569" +
  "e27c62de735cdb6a55d7624ed2594ace5045c94641c53d3dc03438bc2b34b72230b2192ba9152aa01228960f27" +
  "8d0c258309247a062270032167001f";

/** Colours of the levels of weights, from none to the largest. */
export const WEIGHT_COLOURS = parse(WEIGHTS);

/** Colours of the levels of changes, from less (blue) by none (white) to more (red). */
export const CHANGE_COLOURS = parse(CHANGES);

/**
 * The grey of masked cells. Among changes it is darker: there white says that nothing has changed.
 * @param {boolean} isDark the page
 * @param {boolean} [isChange]
 */
export function maskedGrey(isDark, isChange) {
  const value = isDark ? 82 : isChange ? 185 : 228;
  return (0xff000000 | (value << 16) | (value << 8) | value) >>> 0;
}

/** @param {string} text six hexadecimal digits a colour */
function parse(text) {
  const colours = new Uint32Array(text.length / 6);
  for (let index = 0; index < colours.length; index++) {
    const rgb = parseInt(text.slice(6 * index, 6 * index + 6), 16);
    const swapped = ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16);
    colours[index] = (0xff000000 | swapped) >>> 0;
  }
  return colours;
}

/**
 * The colour as CSS writes it.
 * @param {number} colour
 */
export function css(colour) {
  return `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
}

/**
 * Black or white: what is legible on the colour.
 * @param {number} colour
 */
export function inkOn(colour) {
  const [red, green, blue] = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}

const ROUND = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
const FEW_KEYS = 16;

/**
 * The weight of each code.
 * @param {number} scale the head's largest weight
 */
export function weightsOfCodes(scale) {
  const weights = new Float64Array(256);
  for (let code = 0; code < 256; code++) weights[code] = scale * (code / 255) ** 2;
  return weights;
}

/**
 * The weight of each cell.
 * @param {Uint8Array} codes
 * @param {number} scale the head's largest weight
 */
export function decode(codes, scale) {
  const weights = weightsOfCodes(scale);
  const decoded = new Float64Array(codes.length);
  for (let index = 0; index < codes.length; index++) decoded[index] = weights[codes[index]];
  return decoded;
}

/**
 * The round number at or above the maximum that ends a scale; 1 if it is not positive.
 * @param {number} maximum
 */
export function roundedTop(maximum) {
  if (!(maximum > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(maximum));
  const least = (maximum / power) * (1 - 1e-5);
  return Number(((ROUND.find((round) => round >= least) ?? 10) * power).toPrecision(6));
}

/**
 * Where a map's own scale ends.
 * @param {Uint8Array} codes
 * @param {number} scale the head's largest weight
 * @param {Uint8Array | null} masked
 * @param {number} columns
 */
export function ownTop(codes, scale, masked, columns) {
  return roundedTop(weightsOfCodes(scale)[largestTold(codes, masked, columns)]);
}

/**
 * The largest magnitude that tells something. Queries that see far fewer keys than others do not count:
 * the first query of a causal map has a weight of 1, whatever the model has learnt.
 * @param {Float64Array | Uint8Array} values [rows, columns]
 * @param {Uint8Array | null} masked
 * @param {number} columns
 */
export function largestTold(values, masked, columns) {
  const seen = cellsSeen(values.length / columns, columns, masked);
  const most = Math.max(...seen);
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    const size = Math.abs(values[index]);
    if (!masked?.[index] && size > largest) {
      if (seen[Math.floor(index / columns)] * FEW_KEYS >= most) largest = size;
    }
  }
  return largest;
}

/** @param {number} rows @param {number} columns @param {Uint8Array | null} masked */
function cellsSeen(rows, columns, masked) {
  const seen = new Uint32Array(rows).fill(columns);
  masked?.forEach((hidden, index) => (seen[Math.floor(index / columns)] -= hidden));
  return seen;
}

/**
 * The level of a position on the scale, from 0 to 1.
 * @param {number} fraction
 */
function level(fraction) {
  return Math.min(LEVELS - 1, Math.max(0, Math.floor(fraction * LEVELS)));
}

/**
 * The colour of each code, on a scale from 0 to `top`.
 * @param {Uint32Array} colours of the levels
 * @param {number} scale the head's largest weight
 * @param {number} top
 */
export function colourTable(colours, scale, top) {
  const [table, weights, end] = [new Uint32Array(256), weightsOfCodes(scale), Math.sqrt(top)];
  for (let code = 0; code < 256; code++) {
    table[code] = colours[level(Math.sqrt(Math.min(weights[code], top)) / end)];
  }
  return table;
}

/**
 * Colours a map of codes.
 * @param {Uint8Array} codes
 * @param {Uint32Array} table of 256 colours
 * @param {Uint8Array | null} masked
 * @param {number} grey of masked cells
 * @param {Uint32Array} pixels to be filled
 */
export function paintCodes(codes, table, masked, grey, pixels) {
  for (let index = 0; index < codes.length; index++) pixels[index] = table[codes[index]];
  if (!masked) return;
  for (let index = 0; index < codes.length; index++) if (masked[index]) pixels[index] = grey;
}

/**
 * The colour of a change, on a scale from −top to top whose lengths follow square roots.
 * @param {number} change
 * @param {Uint32Array} colours of the levels
 * @param {number} top
 */
export function changeColour(change, colours, top) {
  const end = Math.sqrt(top);
  const place = Math.sign(change) * Math.sqrt(Math.min(Math.abs(change), top));
  return colours[level((place + end) / (2 * end))];
}

/**
 * Colours a map of changes.
 * @param {Float64Array} changes
 * @param {Uint32Array} colours of the levels
 * @param {number} top
 * @param {Uint8Array | null} masked
 * @param {number} grey of masked cells
 * @param {Uint32Array} pixels to be filled
 */
export function paintChanges(changes, colours, top, masked, grey, pixels) {
  for (let index = 0; index < changes.length; index++) {
    pixels[index] = masked?.[index] ? grey : changeColour(changes[index], colours, top);
  }
}
