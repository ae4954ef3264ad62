/** What a run is: settings, accounts, layers, errors, files. And all runs, the newest first. */

import { age, short, whole } from "../pure/words.js";
import { visit } from "./actions.js";
import { Panel, button, card, el, facts, table, written } from "./elements.js";
import { pictureAddress } from "./server.js";
import * as store from "./store.js";

const MOST_FILES = 200;
const TITLES = ["run", "state", "step", "loss", "captures", "alerts", "last news", ""];

class RunScreen extends Panel {
  draw() {
    if (store.place.screen.value !== "run") return [];
    const run = store.runState.value?.facts.value;
    if (!run) return [el("p", { className: "note" }, "loading …")];
    return [
      el("div", { className: "cards" }, about(run), accounts(run), settings(run), config(run), versions(run)),
      errors(run),
      layers(run),
      files(run),
    ];
  }
}

/** @param {Run} run */
function about({ title, state, run, summary }) {
  const { git } = run;
  const commit = git ? `${git.commit}${git.dirty ? " (with changes)" : ""}` : null;
  return facts("The run", [
    ["title", title],
    ["state", state],
    ["off because", summary.off],
    ["id", run.id],
    ["started", moment(run.started ?? summary.started)],
    ["resumed", (run.resumed ?? []).map((/** @type {any} */ each) => `at step ${each.step}, ${moment(each.started)}`)],
    ["host", run.host ?? summary.host],
    ["command", (run.command ?? []).join(" ")],
    ["directory", run.directory],
    ["git", commit],
    ["rank", run.world_size > 1 ? `${run.rank} of ${run.world_size}` : null],
  ]);
}

/** @param {Run} run */
function accounts({ summary }) {
  const cost = Number.isFinite(summary.overhead) ? `${short(summary.overhead * 100)} % of the training` : null;
  return facts("Accounts", [
    ["captured", whole(summary.captured)],
    ["rendered", whole(summary.rendered)],
    ["dropped", whole(summary.dropped)],
    ["failed", whole(summary.failed)],
    ["cost", cost],
    ["in the training", Number.isFinite(summary.hook_seconds) ? `${short(summary.hook_seconds)} s` : null],
    ["interval", Number.isFinite(summary.interval) ? `every ${whole(summary.interval)} steps` : null],
    ["made rarer", summary.stretched ? `${whole(summary.stretched)} times` : null],
    ["not seen", (summary.not_seen ?? []).map(written)],
  ]);
}

/** @param {Run} run */
function settings({ run, summary }) {
  return facts("Settings of the monitor", Object.entries(run.settings ?? summary.settings ?? {}));
}

/** @param {Run} run */
function config({ run }) {
  const { config: given } = run;
  const isTable = given !== null && typeof given === "object";
  return facts("Settings of the training", isTable ? Object.entries(given) : []);
}

/** @param {Run} run */
function versions({ run, summary }) {
  return facts("Versions", Object.entries(run.versions ?? summary.versions ?? {}));
}

/** @param {Run} run */
function errors({ summary, damages }) {
  const lines = [...(summary.errors ?? []).map(written), ...damages];
  if (!lines.length) return null;
  const items = lines.map((line) => el("li", {}, line));
  return card("Errors and damages", el("ul", {}, ...items));
}

/** @param {Run} run */
function layers(run) {
  const rows = run.layers.map((layer) => [
    `${layer.role.replace("_", " ")} ${layer.layer}`,
    whole(layer.heads),
    layer.name ?? "–",
    layer.source ?? "–",
    layer.note || "whole and exact",
  ]);
  return table("Layers: what is captured", ["layer", "heads", "module", "from", "note"], rows);
}

/** @param {Run} run */
function files(run) {
  const last = run.captures.slice(-MOST_FILES).reverse();
  const rows = last.map(({ folder, step, epoch, maps, pictures, c }) => [
    folder,
    whole(step),
    epoch === null ? "–" : whole(epoch),
    maps ? "maps" : "–",
    el("span", {}, ...pictures.flatMap((name) => [link(run.id, c, name), " "])),
  ]);
  const made = table("", ["folder", "step", "epoch", "maps", "pictures"], rows);
  if (!made) return null;
  const title = rows.length < run.captures.length ? `the last ${MOST_FILES} are listed` : "all are listed";
  const summary = el("summary", {}, `Files; captures: ${whole(run.captures.length)}, ${title}`);
  return el("details", { className: "files" }, summary, made);
}

/** @param {string} run @param {string} c @param {string} name */
function link(run, c, name) {
  return el("a", { href: pictureAddress(run, c, name), target: "_blank", rel: "noopener" }, name.replace(/\.\w+$/, ""));
}

/** @param {any} seconds */
function moment(seconds) {
  return Number.isFinite(seconds) ? new Date(seconds * 1000).toLocaleString() : null;
}

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

customElements.define("attn-run", RunScreen);
customElements.define("attn-runs", RunsScreen);
