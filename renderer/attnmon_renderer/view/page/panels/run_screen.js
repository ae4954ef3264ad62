/** What a run is: settings, accounts, layers, errors, files. */

import { short, whole } from "../pure/words.js";
import { Panel, el } from "./elements.js";
import { pictureAddress } from "./server.js";
import { place, runState } from "./store.js";
import { facts, table, written } from "./tables.js";

/** @typedef {import("../pure/shapes.js").Run} Run */

const MOST_FILES = 200;

class RunScreen extends Panel {
  draw() {
    if (place.screen.value !== "run") return [];
    const run = runState.value?.facts.value;
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
  return el("section", { className: "card wide" }, el("h2", {}, "Errors and damages"), el("ul", {}, ...items));
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

/**
 * @param {string} run
 * @param {string} c
 * @param {string} name
 */
function link(run, c, name) {
  return el("a", { href: pictureAddress(run, c, name), target: "_blank", rel: "noopener" }, name.replace(/\.\w+$/, ""));
}

/** @param {any} seconds */
function moment(seconds) {
  return Number.isFinite(seconds) ? new Date(seconds * 1000).toLocaleString() : null;
}

customElements.define("attn-run", RunScreen);
