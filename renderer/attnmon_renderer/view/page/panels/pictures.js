/** The pictures of a capture: all there is to see of a run without maps. */

import { Signal } from "../pure/signals.js";
import { Panel, choice, el } from "./elements.js";
import { pictureAddress } from "./server.js";
import * as store from "./store.js";

class Pictures extends Panel {
  name = new Signal(/** @type {string | null} */ (null));

  draw() {
    const [capture, run] = [store.current.value, store.runId.value];
    if (!capture || run === null) return [];
    const { pictures, maps } = capture;
    if (!pictures.length) return [maps ? "" : el("p", { className: "note" }, "This capture has statistics alone: no maps and no pictures.")];
    const name = pictures.find((each) => each === this.name.value) ?? pictures[0];
    /** @type {[string, string][]} */
    const options = pictures.map((each) => [each, each.replace(/\.\w+$/, "").replaceAll("_", " ")]);
    const image = el("img", { src: pictureAddress(run, capture.c, name), alt: `${name}, step ${capture.step}`, loading: "lazy" });
    const why = maps ? "" : el("p", { className: "note" }, "No maps were kept here (option maps=): these are the pictures.");
    const bar = el("div", { className: "controls" }, el("h2", {}, "Pictures"), choice("picture", options, name, (value) => (this.name.value = value)));
    const body = [why, bar, image];
    if (!maps) return body;
    const details = el("details", { open: this.isOpen, ontoggle: () => (this.isOpen = details.open) }, el("summary", {}, `Pictures (${pictures.length})`), ...body.slice(1));
    return [details];
  }

  isOpen = false;
}

customElements.define("attn-pictures", Pictures);
