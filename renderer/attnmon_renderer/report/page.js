/* The pictures of a report. */
const byId = (id) => document.getElementById(id);
const steps = JSON.parse(byId("steps").textContent);
const slider = byId("step"), choice = byId("name"), picture = byId("picture"), play = byId("play");
const cursor = byId("cursor");
const names = [...new Set(steps.flatMap((step) => Object.keys(step.pictures)))];

for (const name of names) choice.add(new Option(name.replaceAll("_", " "), name));
const crossed = names.filter((name) => name.endsWith("cross_attn"));
choice.value = crossed.at(-1) ?? names[0];

function show() {
  const step = steps[slider.value], source = step.pictures[choice.value];
  byId("label").textContent = step.label;
  slider.setAttribute("aria-valuetext", step.label);
  picture.hidden = !source;
  byId("absent").hidden = Boolean(source);
  if (source) { picture.src = source; picture.alt = choice.value + ", " + step.label; }
  if (cursor) {
    cursor.setAttribute("x1", step.x);
    cursor.setAttribute("x2", step.x);
    cursor.style.visibility = "visible";
  }
}

choice.addEventListener("change", show);
playsSteps(slider, play, show);
show();
