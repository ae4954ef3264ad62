/* The pictures of a report: a slider chooses a step, a button plays the steps up to the last. */
const byId = (id) => document.getElementById(id);
const steps = JSON.parse(byId("steps").textContent);
const slider = byId("step"), choice = byId("name"), picture = byId("picture"), play = byId("play");
const cursor = byId("cursor");
const names = [...new Set(steps.flatMap((step) => Object.keys(step.pictures)))];
const isAtEnd = () => slider.value === slider.max;
let timer = null;

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

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "▶";
  play.setAttribute("aria-label", "play");
}

function start() {
  if (isAtEnd()) slider.value = 0;
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    show();
    if (isAtEnd()) stop();
  }, 300);
  play.textContent = "❚❚";
  play.setAttribute("aria-label", "pause");
  show();
}

choice.addEventListener("change", show);
slider.addEventListener("input", () => { stop(); show(); });
play.addEventListener("click", () => (timer === null ? start() : stop()));
play.disabled = slider.disabled = slider.max === "0";
show();
