/** Light and dark: as the system, or as chosen. */

import { effect, Signal } from "../pure/signals.js";
import { isDark } from "./store.js";

const KEY = "attnmon-theme";
const THEMES = ["system", "light", "dark"];
const theme = new Signal(remembered());

/** Follows the system and the choice. */
export function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    isDark.value = theme.value === "system" ? system.matches : theme.value === "dark";
  };
  system.addEventListener("change", follow);
  effect(follow);
  effect(() => (document.documentElement.dataset.theme = isDark.value ? "dark" : "light"));
}

/** The other of light and dark; what the system has is kept as that. */
export function nextTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = isDark.value ? "light" : "dark";
  theme.value = next === system ? "system" : next;
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // Where nothing may be kept, the choice holds until the page is closed.
  }
}

function remembered() {
  try {
    const kept = localStorage.getItem(KEY) ?? "";
    return THEMES.includes(kept) ? kept : "system";
  } catch {
    return "system";
  }
}
