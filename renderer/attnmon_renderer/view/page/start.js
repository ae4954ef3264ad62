/** Starts the page: its parts, the keys, the theme, what it loads, and its address. */

import "./panels/status_strip.js";
import "./panels/step_controls.js";
import "./panels/timeline.js";
import "./panels/head_grid.js";
import "./panels/maps_panel.js";
import "./panels/spot_facts.js";
import "./panels/film_strip.js";
import "./panels/compare_screen.js";
import "./panels/run_screens.js";
import { go, writeAddress } from "./panels/actions.js";
import { listenToKeys } from "./panels/keys.js";
import { begin } from "./panels/loader.js";
import { place, placeNow, runs } from "./panels/store.js";
import { followTheme } from "./panels/theme.js";
import { parse } from "./pure/address.js";
import { effect } from "./pure/signals.js";

const ADDRESS_MS = 200;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let later;

/** An address that is passed on has to lead to the same run; `latest` stays what it says. */
function nameRun() {
  const newest = runs.value?.[0]?.id;
  if (newest && place.run.value === null && !location.pathname.endsWith("/latest")) go({ run: newest });
}

followTheme();
listenToKeys(document);
begin();
effect(nameRun);
effect(() => {
  placeNow(); // which it follows
  clearTimeout(later);
  later = setTimeout(writeAddress, ADDRESS_MS);
});
effect(() => {
  document.body.dataset.screen = place.screen.value;
  document.body.classList.toggle("full", place.full.value);
});
addEventListener("popstate", () => go(parse(location.search)));
