/** Starts the parts of the page that are in a document; its answers are in it, too. */

import "./panels/step_controls.js";
import "./panels/timeline.js";
import "./panels/head_grid.js";
import "./panels/maps_panel.js";
import "./panels/spot_facts.js";
import "./panels/film_strip.js";
import "./panels/compare_screen.js";
import { go } from "./panels/actions.js";
import { listenToKeys } from "./panels/keys.js";
import { load } from "./panels/loader.js";
import { isDark, place } from "./panels/store.js";
import { parse } from "./pure/address.js";
import { effect } from "./pure/signals.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const maps = document.querySelector("section:has(attn-maps)");

dark.addEventListener("change", () => (isDark.value = dark.matches));
isDark.value = dark.matches;
if (maps instanceof HTMLElement) listenToKeys(maps);
go(parse(document.body.dataset.place ?? ""));
load();
effect(() => void document.body.classList.toggle("full", place.full.value));
