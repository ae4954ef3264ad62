/** Makes elements, always from text and never from markup. */

import { effect } from "../pure/signals.js";

/**
 * An element with properties, attributes (whose names have a dash, and "role") and children.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, any>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, String(value));
    else Object.assign(element, { [key]: value });
  }
  element.append(...present(children));
  return element;
}

/**
 * An element of a drawing.
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number>} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[Name]}
 */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...present(children));
  return element;
}

/**
 * A text of a drawing.
 * @param {string} className
 * @param {number} x
 * @param {number} y
 * @param {string} anchor
 * @param {string} words
 */
export function svgText(className, x, y, anchor, words) {
  return svg("text", { class: className, x, y, "text-anchor": anchor }, words);
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function present(children) {
  return children.filter((child) => child !== null && child !== undefined && child !== false);
}

/**
 * A choice among named values.
 * @param {string} label
 * @param {string[][]} options value and text
 * @param {string} value
 * @param {(value: string) => void} chosen
 */
export function choice(label, options, value, chosen) {
  const select = el("select", { "aria-label": label, onchange: () => chosen(select.value) });
  for (const [each, text] of options) select.add(new Option(text, each, false, each === value));
  select.value = value;
  return select;
}

/**
 * A button with a text.
 * @param {string} text
 * @param {string} title what it does, and its key
 * @param {() => void} pressed
 * @param {boolean} [isOn] for one that stays pressed
 */
export function button(text, title, pressed, isOn) {
  const made = el("button", { type: "button", title, textContent: text, onclick: pressed });
  made.setAttribute("aria-label", title);
  if (isOn !== undefined) made.setAttribute("aria-pressed", String(isOn));
  return made;
}

/** A part of the page that is drawn again when what it has read changes. */
export class Panel extends HTMLElement {
  /** @type {(() => void)[]} */
  #ends = [];

  connectedCallback() {
    this.build();
  }

  disconnectedCallback() {
    for (const end of this.#ends.splice(0)) end();
  }

  /** Makes what is there from the start, and watches the rest. */
  build() {
    this.fill(this, () => this.draw());
  }

  /**
   * Fills an element, and again when a signal that was read has changed.
   * @param {Element} element
   * @param {() => Child[]} make
   */
  fill(element, make) {
    this.watch(() => element.replaceChildren(...present(make())));
  }

  /**
   * What is in it now.
   * @returns {Child[]}
   */
  draw() {
    return [];
  }

  /**
   * Runs now, and again when a signal that it read has changed, as long as the panel is there.
   * @param {() => void} work
   */
  watch(work) {
    this.#ends.push(effect(work));
  }

  /**
   * Calls when the panel has another width.
   * @param {(width: number) => void} work
   */
  watchWidth(work) {
    this.watchSize(this, () => work(this.clientWidth));
  }

  /** @param {Element} element @param {() => void} work */
  watchSize(element, work) {
    const observer = new ResizeObserver(work);
    observer.observe(element);
    this.#ends.push(() => observer.disconnect());
  }
}

/**
 * A part of a screen, with a title.
 * @param {string} title
 * @param {...Child} children
 */
export function card(title, ...children) {
  return el("section", { className: "card wide" }, title && el("h2", {}, title), ...children);
}

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
  return card(title, el("div", { className: "scroll" }, made));
}

/**
 * What is shown when it is asked for.
 * @param {string} summary
 * @param {() => Child} make is called once
 */
export function more(summary, make) {
  const details = el("details", {}, el("summary", {}, summary));
  details.addEventListener("toggle", () => details.append(...present([make()])), { once: true });
  return details;
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
