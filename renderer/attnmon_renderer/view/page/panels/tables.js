/** Tables of names and values. */

import { el } from "./elements.js";

/**
 * A list of names and values; what is not known is left out.
 * @param {string} title
 * @param {[string, any][]} rows
 */
export function facts(title, rows) {
  const known = rows.filter(([, value]) => ![null, undefined, ""].includes(value) && value?.length !== 0);
  if (!known.length) return null;
  const parts = known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, written(value))]);
  return el("section", { className: "card" }, el("h2", {}, title), el("dl", {}, ...parts));
}

/**
 * A table with titles.
 * @param {string} title
 * @param {string[]} titles
 * @param {(string | Node)[][]} rows
 */
export function table(title, titles, rows) {
  if (!rows.length) return null;
  const head = el("tr", {}, ...titles.map((each) => el("th", { scope: "col" }, each)));
  const lines = rows.map((row) => el("tr", {}, ...row.map((each) => el("td", {}, each))));
  const made = el("table", {}, el("thead", {}, head), el("tbody", {}, ...lines));
  return el("section", { className: "card wide" }, el("h2", {}, title), el("div", { className: "scroll" }, made));
}

/**
 * A value in words.
 * @param {any} value
 * @returns {string}
 */
export function written(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map(written).join(", ") || "none";
  if (typeof value === "object") {
    return Object.entries(value).map(([name, each]) => `${name} ${written(each)}`).join(", ") || "none";
  }
  return String(value);
}
