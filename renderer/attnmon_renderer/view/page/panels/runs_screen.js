/** All runs, the newest first. */

import { age, short, whole } from "../pure/words.js";
import { visit } from "./actions.js";
import { Panel, button, el } from "./elements.js";
import * as store from "./store.js";

/** @typedef {import("../pure/shapes.js").RunLine} RunLine */

const TITLES = ["run", "state", "step", "loss", "captures", "alerts", "last news", ""];

class RunsScreen extends Panel {
  draw() {
    if (store.place.screen.value !== "runs") return [];
    const runs = store.runs.value;
    if (!runs) return [el("p", { className: "note" }, "loading …")];
    if (!runs.length) {
      const words = "There is no run yet. One that begins below the served directories appears here.";
      return [el("p", { className: "note" }, words)];
    }
    const head = el("tr", {}, ...TITLES.map((title) => el("th", { scope: "col" }, title)));
    const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...runs.map(row)));
    return [el("h2", {}, "Runs, the newest first"), el("div", { className: "scroll" }, table)];
  }
}

/** @param {RunLine} run */
function row(run) {
  const dot = el("i", { className: run.alive ? "dot alive" : "dot" });
  const news = run.updated === null ? "–" : `${age(store.clock.value - run.updated)} ago`;
  const open = button(run.title, `open ${run.title}`, () => visit(start(run)));
  open.className = "link";
  return el(
    "tr",
    { title: run.directory },
    el("td", {}, open, rank(run)),
    el("td", {}, dot, run.alive ? "running" : run.state),
    el("td", {}, whole(run.step)),
    el("td", {}, short(run.loss)),
    el("td", {}, whole(run.captures)),
    el("td", { className: run.alerts ? "trouble" : "" }, whole(run.alerts)),
    el("td", {}, news),
    el("td", {}, compareButton(run)),
  );
}

/** @param {RunLine} run */
function start(run) {
  return /** @type {const} */ ({ screen: "live", run: run.id, step: null, layer: null, other: null, part: null });
}

/** @param {RunLine} run */
function rank({ ranks }) {
  return ranks?.length ? el("span", { className: "faint" }, ` rank ${ranks.join(", ")}`) : null;
}

/** @param {RunLine} run */
function compareButton(run) {
  if (run.id === store.runId.value) return el("span", { className: "faint" }, "this is A");
  return button("compare", `compare with ${run.title}`, () => visit({ screen: "compare", other: run.id }));
}

customElements.define("attn-runs", RunsScreen);
