/** What the colours of a map stand for. */

import { CHANGE_COLOURS, LEVELS, WEIGHT_COLOURS, css } from "../pure/palettes.js";
import { short } from "../pure/words.js";
import { MASKED } from "../pure/palettes.js";
import { el } from "./elements.js";
import { isDark } from "./store.js";

export class ColourBar extends HTMLElement {
  levels = el("canvas", { width: LEVELS, height: 1, "aria-hidden": "true" });
  low = el("span");
  middle = el("span");
  high = el("span");
  masked = el("span", { className: "masked" });

  connectedCallback() {
    this.replaceChildren(this.low, this.levels, this.high, this.masked);
  }

  /** @param {import("./content.js").Content} content */
  show({ top, isChange, masked, map: { layer } }) {
    const colours = isChange ? CHANGE_COLOURS : WEIGHT_COLOURS;
    const image = new ImageData(LEVELS, 1);
    new Uint32Array(image.data.buffer).set(colours);
    this.levels.getContext("2d")?.putImageData(image, 0, 0);
    const unit = layer.key_step > 1 ? `weight of ${layer.key_step} keys` : "weight";
    this.low.textContent = isChange ? `−${short(top)}` : "0";
    this.high.textContent = `${isChange ? "+" : ""}${short(top)} ${unit} (√ scale)`;
    const swatch = el("i");
    swatch.style.background = css(isDark.value ? MASKED.dark : MASKED.light);
    this.masked.replaceChildren(...(masked ? [swatch, "masked"] : []));
  }
}

customElements.define("attn-bar", ColourBar);
