/** The buttons beside the curves: one capture on, play, follow, and what to compare with. */

import { STATISTICS, whole } from "../pure/words.js";
import { go, pin, stepBy, toggleFollow, togglePlay } from "./actions.js";
import { Panel, button, choice, el } from "./elements.js";
import * as store from "./store.js";

class StepControls extends Panel {
  play = button("▶", "play, stop (space)", togglePlay);
  step = el("b", { className: "step" });
  number = el("span", { className: "faint" });
  follow = button("follow", "follow the newest capture (l)", toggleFollow, true);
  choices = el("span", { className: "controls" });

  build() {
    const [back, next] = [button("‹", "the capture before (←)", () => stepBy(-1)), button("›", "the next capture (→)", () => stepBy(1))];
    this.append(back, this.play, next, this.step, this.number, this.follow, this.choices);
    this.watch(() => this.say());
    this.fill(this.choices, () => [againstChoice(), curveChoice(), axisChoice()]);
  }

  say() {
    const captures = store.runState.value?.captures.value ?? [];
    const capture = store.current.value;
    const none = store.runState.value?.facts.value ? "no capture yet" : ""; // nothing is known so far
    this.step.textContent = capture ? `step ${whole(capture.step)}` : none;
    this.number.textContent = capture ? `${whole(captures.indexOf(capture) + 1)} of ${whole(captures.length)}` : "";
    this.play.textContent = store.isPlaying.value ? "❚❚" : "▶";
    this.follow.setAttribute("aria-pressed", String(store.place.step.value === null));
  }
}

function curveChoice() {
  const chosen = choice("curve", Object.entries(STATISTICS), store.place.statistic.value, chooseCurve);
  return el("label", {}, "curve ", chosen);
}

function axisChoice() {
  const chosen = choice("axis of the curves", [["step", "step"], ["time", "time"]], store.place.axis.value, (axis) => go({ axis: /** @type {"step"} */ (axis) }));
  return el("label", {}, "over ", chosen);
}

/** @param {string} statistic */
function chooseCurve(statistic) {
  go({ statistic });
}

function againstChoice() {
  const [against, other] = [store.place.against.value, store.place.other.value];
  const isStep = against !== "previous" && against !== "first";
  const others = (store.runs.value ?? []).filter(({ id }) => id !== store.runId.value);
  const options = [
    ...(isStep ? [[against, `step ${whole(Number(against))}`]] : []),
    ["previous", "the capture before"],
    ["first", "the first capture"],
    ["pin", "this capture, from now on (p)"],
    ...others.map(({ id, title }) => [`run:${id}`, `run ${title}`]),
  ];
  const chosen = other === null ? against : `run:${other}`;
  return el("label", {}, "against ", choice("what to compare with", options, chosen, compareWith));
}

/** @param {string} value */
function compareWith(value) {
  const view = store.place.view.value === "map" ? "both" : store.place.view.value;
  if (value === "pin") pin();
  else if (value.startsWith("run:")) go({ other: value.slice(4), view });
  else go({ against: value, other: null });
}

customElements.define("attn-steps", StepControls);
