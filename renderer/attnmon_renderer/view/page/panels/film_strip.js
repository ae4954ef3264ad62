/** The head that is looked at, in the captures up to this one; and the pictures of this one. */

import { Signal } from "../pure/signals.js";
import { short, whole } from "../pure/words.js";
import { go } from "./actions.js";
import { Panel, button, choice, el } from "./elements.js";
import { getCapture, getMap, getThumbs, pictureAddress } from "./server.js";
import * as store from "./store.js";
import { meanThumb, paintThumb, thumbsOf } from "./thumbnail.js";

const MOST = 12;
const REST_MS = 300;

class FilmStrip extends Panel {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer = undefined;

  build() {
    this.strip = el("div", { className: "film" });
    this.append(el("h2", {}, "The captures up to this one"), this.strip);
    this.watch(() => this.wait());
  }

  /** While the steps fly past, the strip stays as it is. */
  wait() {
    const map = store.shown.value;
    void [store.isDark.value, store.place.scale.value];
    if (!map) this.hidden = true;
    clearTimeout(this.timer);
    if (map) this.timer = setTimeout(() => this.show(map), REST_MS);
  }

  /** @param {Shown} map */
  show(map) {
    const captures = store.stateOf(map.run).captures.value.filter(({ maps }) => maps);
    const index = captures.findIndex(({ c }) => c === map.capture.c);
    const last = captures.slice(Math.max(0, index + 1 - MOST), index + 1);
    this.hidden = captures.length < 2;
    this.strip?.replaceChildren(...last.map((line) => frame(map, line)));
  }
}

/** @param {Shown} map @param {CaptureLine} line */
function frame(map, line) {
  const canvas = el("canvas", { width: 32, height: 32, "aria-hidden": "true" });
  const loss = store.stateOf(map.run).row(line.step)?.loss ?? null;
  const made = button("", `step ${whole(line.step)}`, () => go({ step: line.step }), line.c === map.capture.c);
  const words = el("span", {}, whole(line.step));
  if (loss !== null) made.title = `step ${whole(line.step)}, loss ${short(loss)}`;
  made.className = "thumb";
  made.replaceChildren(canvas, words);
  void paint(canvas, map, line.c);
  return made;
}

/** @param {HTMLCanvasElement} canvas @param {Shown} map @param {string} c */
async function paint(canvas, map, c) {
  try {
    const capture = await getCapture(map.run, c);
    const layer = capture.layers.find(({ stem }) => stem === map.layer.stem);
    if (!layer) return;
    const index = layer.heads.indexOf(Number(map.head));
    const thumb =
      map.head === "mean"
        ? meanThumb(layer, await getMap(map.run, c, layer.stem, "mean"))
        : thumbsOf(layer, (await getThumbs(map.run, c, layer.stem)).data)[index];
    if (thumb) paintThumb(canvas, thumb);
  } catch {
    canvas.hidden = true; // the capture has been removed since
  }
}

class Pictures extends Panel {
  name = new Signal(/** @type {string | null} */ (null));

  draw() {
    const [capture, run] = [store.current.value, store.runId.value];
    if (!capture || run === null) return [];
    const { pictures, maps } = capture;
    if (!pictures.length) return [maps ? "" : el("p", { className: "note" }, "This capture has statistics alone: no maps and no pictures.")];
    const name = pictures.find((each) => each === this.name.value) ?? pictures[0];
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

customElements.define("attn-film", FilmStrip);
customElements.define("attn-pictures", Pictures);
