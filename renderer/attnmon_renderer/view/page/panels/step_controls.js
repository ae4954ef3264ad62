/** The buttons beside the curves: one capture on, play, follow, and what to compare with. */

import { whole } from "../pure/words.js";
import { go, pin, stepBy, toggleFollow, togglePlay } from "./actions.js";
import { Panel, button, choice, el } from "./elements.js";
import { STATISTICS } from "./statistics.js";
import * as store from "./store.js";

/** @typedef {import("../pure/shapes.js").CaptureLine} CaptureLine */

class StepControls extends Panel {
  draw() {
    const captures = store.runState.value?.captures.value ?? [];
    const capture = store.current.value;
    const number = capture ? captures.indexOf(capture) + 1 : 0;
    const isFollowing = store.place.step.value === null;
    return [
      button("‹", "the capture before (←)", () => stepBy(-1)),
      button(store.isPlaying.value ? "❚❚" : "▶", "play, stop (space)", togglePlay),
      button("›", "the next capture (→)", () => stepBy(1)),
      el("b", { className: "step" }, capture ? `step ${whole(capture.step)}` : "no capture yet"),
      capture && el("span", { className: "faint" }, `${whole(number)} of ${whole(captures.length)}`),
      button("follow", "follow the newest capture (l)", toggleFollow, isFollowing),
      againstChoice(captures),
      el("label", {}, "curve ", choice("curve", Object.entries(STATISTICS), store.place.statistic.value, chooseCurve)),
    ];
  }
}

/** @param {string} statistic */
function chooseCurve(statistic) {
  go({ statistic });
}

/** @param {CaptureLine[]} captures */
function againstChoice(captures) {
  const [against, other] = [store.place.against.value, store.place.other.value];
  const isStep = against !== "previous" && against !== "first";
  const others = (store.runs.value ?? []).filter(({ id }) => id !== store.runId.value);
  /** @type {([string, string] | false)[]} */
  const options = [
    isStep && [against, `step ${whole(Number(against))}`],
    ["previous", "the capture before"],
    ["first", "the first capture"],
    captures.length > 0 && ["pin", "this capture, from now on (p)"],
    ...others.map(({ id, title }) => /** @type {[string, string]} */ ([`run:${id}`, `run ${title}`])),
  ];
  const present = options.filter((option) => option !== false);
  const chosen = other === null ? against : `run:${other}`;
  return el("label", {}, "against ", choice("what to compare with", present, chosen, compareWith));
}

/** @param {string} value */
function compareWith(value) {
  const view = store.place.view.value === "map" ? "both" : store.place.view.value;
  if (value === "pin") pin();
  else if (value.startsWith("run:")) go({ other: value.slice(4), view });
  else go({ against: value, other: null });
}

customElements.define("attn-steps", StepControls);
