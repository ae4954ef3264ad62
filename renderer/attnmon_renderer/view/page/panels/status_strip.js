/** The first line: is it alive? */

import { stemOf } from "../pure/history.js";
import { age, short, whole } from "../pure/words.js";
import { go, visit } from "./actions.js";
import { Panel, button, choice, el } from "./elements.js";
import { showKeys } from "./keys.js";
import { clock, muted, place, runId, runState, runs, trouble } from "./store.js";
import { nextTheme } from "./theme.js";

/** @type {[Place["screen"], string][]} */
const SCREENS = [
  ["live", "Maps"],
  ["compare", "Compare"],
  ["run", "Run"],
  ["runs", "Runs"],
];

class StatusStrip extends Panel {
  build() {
    const facts = el("span", { className: "facts", role: "status" });
    const screens = el("nav", { "aria-label": "screens" });
    const picker = el("span", { className: "picker" });
    this.append(
      el("strong", { textContent: "attnmon" }),
      picker,
      facts,
      screens,
      button("◐", "light, dark, or as the system", nextTheme),
      button("?", "keys (?)", showKeys),
    );
    this.fill(picker, () => [pickRun()]);
    this.fill(facts, runFacts);
    this.fill(screens, () => SCREENS.map(screenButton));
  }
}

/** @param {[Place["screen"], string]} screen */
function screenButton([screen, text]) {
  const made = button(text, `${text} screen`, () => visit({ screen }));
  if (place.screen.value === screen) made.setAttribute("aria-current", "page");
  return made;
}

function pickRun() {
  const lines = runs.value ?? [];
  const options = lines.map(({ id, title }) => [id, title]);
  const id = runId.value ?? "";
  if (id && !lines.some((line) => line.id === id)) options.push([id, runs.value ? "no such run" : "…"]);
  return choice("run", options, id, (run) => visit({ run, step: null, part: null }));
}

function runFacts() {
  if (trouble.value) return [el("span", { className: "trouble", textContent: trouble.value })];
  const facts = runState.value?.facts.value;
  if (!facts) return [runs.value?.length === 0 ? "no run yet" : "loading …"];
  return [state(facts), ...progress(), ...accounts(facts.summary)].map((part) => el("span", {}, part));
}

/** @param {Run} facts */
function state(facts) {
  const dot = el("i", { className: facts.alive ? "dot alive" : "dot" });
  return el("b", {}, dot, facts.alive ? "running" : facts.state);
}

function progress() {
  const row = runState.value?.rows.value.at(-1);
  if (!row) return [];
  const seconds = row.time === null ? null : clock.value - row.time;
  return [
    `step ${whole(row.step)}`,
    row.loss !== null && `loss ${short(row.loss)}`,
    seconds !== null && `last capture ${age(seconds)} ago`,
  ].filter((text) => text !== false);
}

/** @param {Record<string, any>} summary */
function accounts({ rendered, dropped, failed, overhead }) {
  const lost = [dropped && `${whole(dropped)} dropped`, failed && `${whole(failed)} failed`];
  return [
    Number.isFinite(rendered) && `${whole(rendered)} drawn`,
    ...lost,
    Number.isFinite(overhead) && overhead > 0 && `cost ${short(overhead * 100)} %`,
  ].filter((text) => typeof text === "string");
}

class AlertList extends Panel {
  draw() {
    const facts = runState.value?.facts.value;
    const alerts = (facts?.alerts ?? []).filter(
      ({ id, state }) => state === "firing" && !muted.value.has(id),
    );
    const troubles = (facts?.troubles ?? []).map((text) => el("li", {}, text));
    const lines = [...alerts.map(alertLine), ...troubles].filter((line) => line !== null);
    return lines.length ? [el("ul", { "aria-label": "what is wrong" }, ...lines)] : [];
  }
}

/** @param {Alert} alert */
function alertLine(alert) {
  const { severity, step, text } = alert;
  const show = button("show", "show the map of this alert", () => go(placeOf(alert)));
  const mute = button("mute", "hide this until the page is loaded again", () => {
    muted.value = new Set([...muted.value, alert.id]);
  });
  const signs = { info: "ℹ", warn: "⚠", error: "⛔" };
  const words = `${signs[severity] ?? "⚠"} ${text} (step ${whole(step)}) `;
  const advice = alert.try ? el("span", { className: "faint" }, `${alert.try} `) : null;
  return el("li", { className: severity }, words, advice, show, mute);
}

/** @param {Alert} alert */
function placeOf({ step, role, layer, heads }) {
  const stem = role && layer !== null ? stemOf(role, layer) : place.layer.value;
  const head = heads?.length ? String(heads[0]) : "mean";
  return /** @type {const} */ ({ screen: "live", step, layer: stem, head });
}

customElements.define("attn-status", StatusStrip);
customElements.define("attn-alerts", AlertList);
