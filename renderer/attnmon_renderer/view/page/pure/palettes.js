/**
 * The colours of the pictures: the same table as the renderer's `drawing/spec/palettes.py`, which a
 * test compares. A colour is an unsigned 32-bit number as a canvas keeps it: 0xAABBGGRR.
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

/** Greys of the table: masked cells on a light page, masked cells on a dark one. */
export const MASKED = { light: grey(228), dark: grey(82) };

/** Colours of the levels of weights, from none to the largest. */
export const WEIGHT_COLOURS = parse(WEIGHTS);

/** Colours of the levels of changes, from less (blue) by none (white) to more (red). */
export const CHANGE_COLOURS = parse(CHANGES);

/** @param {number} value from 0 (black) to 255 (white) */
function grey(value) {
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
