/* The maps of a report. The functions that it does not define are those of the live page, before it. */
const byId = (id) => document.getElementById(id);
const { stems, texts, steps } = JSON.parse(byId("map-facts").textContent);
const codesText = byId("map-codes").textContent;
const slider = byId("map-step"), play = byId("map-play"), group = byId("map-group");
const against = byId("map-against"), other = byId("map-other"), colours = byId("map-colours");
const canvas = byId("map-canvas"), spot = byId("map-spot"), heads = byId("map-heads");
const isDark = matchMedia("(prefers-color-scheme: dark)");
const MEAN = -1, MOST_BLOCKS = 600, LARGEST = 560, ABOVE = 6;
const blocks = new Map();
const chosen = { stem: "", head: MEAN };
let turn = 0, shown = null, at = null;

/* From the text to codes */

function blockOf(step, stem) {
  const key = `${step} ${stem}`, layer = steps[step].layers[stem];
  if (!layer) return Promise.resolve(null);
  const found = blocks.get(key) ?? unpacked(layer);
  blocks.delete(key);
  blocks.set(key, found);
  if (blocks.size > MOST_BLOCKS) blocks.delete(blocks.keys().next().value);
  return found;
}

async function unpacked(layer) {
  const text = atob(codesText.substr(layer.at, layer.length)), packed = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) packed[index] = text.charCodeAt(index);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const content = new Uint8Array(await new Response(stream).arrayBuffer());
  const cells = layer.rows * layer.columns, end = cells * layer.heads.length;
  for (let head = 0; head < end; head += cells) {
    for (let cell = head + layer.columns; cell < head + cells; cell++) content[cell] += content[cell - layer.columns];
  }
  const allowed = layer.masked ? { data: content.subarray(end), shape: [1, layer.rows, layer.columns] } : null;
  const masked = maskedCells(layer, allowed, 0);
  return { layer, cells, codes: content.subarray(0, end), masked, mean: null };
}

/* What is shown of a head: its codes, weights, or their change since another step */

/** The weights of the mean over the heads. */
function meanOf(block) {
  if (block.mean) return block.mean;
  const { layer, cells, codes } = block, mean = new Float64Array(cells), count = layer.heads.length;
  for (let head = 0; head < count; head++) {
    const weights = weightsOfCodes(layer.scale[head] / count), start = head * cells;
    for (let cell = 0; cell < cells; cell++) mean[cell] += weights[codes[start + cell]];
  }
  return (block.mean = mean);
}

/** null where there is no such head. */
function plainView(block, head) {
  if (!block) return null;
  if (head === MEAN) return { values: meanOf(block) };
  const index = block.layer.heads.indexOf(head);
  if (index < 0) return null;
  return { values: block.codes.subarray(index * block.cells, (index + 1) * block.cells), scale: block.layer.scale[index] };
}

const weightsIn = ({ values, scale }) => (scale === undefined ? values : decode(values, scale));

function viewOf(block, before, head) {
  const now = plainView(block, head);
  if (!now || before === undefined) return now;
  const then = plainView(before, head);
  const fits = then && ["rows", "columns", "queries", "keys"].every((name) => block.layer[name] === before.layer[name]);
  if (!fits) return null;
  const weights = weightsIn(now), earlier = weightsIn(then);
  return { values: weights.map((weight, cell) => weight - earlier[cell]), weights, earlier };
}

/** The largest weight, or change, that tells something. */
function told({ values, scale }, { layer, masked }) {
  const largest = largestTold(values, masked, layer.columns);
  return scale === undefined ? largest : weightsOfCodes(scale)[largest];
}

function paint(target, view, block, top) {
  const { rows, columns } = block.layer, grey = maskedGrey(isDark.matches, Boolean(view.earlier));
  const image = new ImageData(columns, rows), pixels = new Uint32Array(image.data.buffer), { values, scale } = view;
  if (view.earlier) paintChanges(values, CHANGE_COLOURS, top, block.masked, grey, pixels);
  else if (scale !== undefined) paintCodes(values, colourTable(WEIGHT_COLOURS, scale, top), block.masked, grey, pixels);
  else paintWeights(values, top, block.masked, grey, pixels);
  if (target.width !== columns) target.width = columns;
  if (target.height !== rows) target.height = rows;
  target.getContext("2d").putImageData(image, 0, 0);
}

function paintWeights(weights, top, masked, grey, pixels) {
  const last = LEVELS - 1;
  for (let cell = 0; cell < weights.length; cell++) {
    const level = Math.floor(Math.sqrt(Math.min(weights[cell], top) / top) * LEVELS);
    pixels[cell] = masked?.[cell] ? grey : WEIGHT_COLOURS[Math.min(last, level)];
  }
}

/* The step */

const otherStep = () => ({ first: 0, before: Math.max(0, slider.value - 1), chosen: Number(other.value) })[against.value];
const stemsShown = () => stems.filter((stem) => kindOf(stem) === group.value);
const kindOf = (stem) => { const [stack, , type] = stem.split("_"); return `${stack} ${type}`; };
const numberOf = (stem) => Number(stem.split("_")[1].slice(5));

async function show() {
  const mine = ++turn, step = Number(slider.value), base = otherStep();
  describeStep(step, base);
  const wanted = stemsShown();
  const load = (which) => Promise.all(wanted.map((stem) => blockOf(which, stem)));
  const [now, before] = await Promise.all([load(step), base === undefined ? [] : load(base)]);
  if (mine !== turn) return;
  const layers = new Map(wanted.map((stem, index) => [stem, { block: now[index], before: base === undefined ? undefined : before[index] }]));
  const tops = new Map();
  showHeads(layers, tops);
  showMap(layers.get(chosen.stem), tops, step, base);
}

function describeStep(step, base) {
  byId("map-label").textContent = steps[step].label;
  slider.setAttribute("aria-valuetext", steps[step].label);
  byId("map-other-row").hidden = against.value !== "chosen";
  byId("map-other-label").textContent = base === undefined ? "" : steps[base].label;
  if (base !== undefined) other.setAttribute("aria-valuetext", steps[base].label);
  const cursor = byId("cursor");
  if (cursor) {
    cursor.setAttribute("x1", steps[step].x);
    cursor.setAttribute("x2", steps[step].x);
    cursor.style.visibility = "visible";
  }
}

/** The end of the colours of a head; those of a layer may share it. */
function topOf(stem, head, view, { block, before }, tops) {
  if (colours.value === "one") return 1;
  if (colours.value === "each" || head === MEAN) return roundedTop(told(view, block));
  if (!tops.has(stem)) {
    const views = block.layer.heads.map((each) => viewOf(block, before, each)).filter(Boolean);
    tops.set(stem, roundedTop(Math.max(...views.map((each) => told(each, block)))));
  }
  return tops.get(stem);
}

/* Layers and heads */

function showHeads(layers, tops) {
  const numbers = [...new Set([...layers.values()].flatMap(({ block }) => block?.layer.heads ?? []))].sort((a, b) => a - b);
  const columns = [MEAN, ...numbers];
  const signature = JSON.stringify([[...layers.keys()], columns]);
  if (heads.dataset.signature !== signature) makeHeads([...layers.keys()], columns);
  heads.dataset.signature = signature;
  for (const button of heads.querySelectorAll("button")) {
    const { stem } = button.dataset, head = Number(button.dataset.head), layer = layers.get(stem);
    const view = layer.block && viewOf(layer.block, layer.before, head);
    const isChosen = stem === chosen.stem && head === chosen.head;
    button.setAttribute("aria-pressed", isChosen);
    button.tabIndex = isChosen ? 0 : -1;
    button.classList.toggle("absent", !view);
    if (view) paint(button.firstChild, view, layer.block, topOf(stem, head, view, layer, tops));
  }
}

function makeHeads(rows, columns) {
  const grid = document.createElement("div");
  grid.className = "head-grid";
  grid.style.gridTemplateColumns = `max-content repeat(${columns.length}, ${Math.max(26, Math.min(46, Math.floor(480 / columns.length)))}px)`;
  const label = (text) => {
    const cell = document.createElement("span");
    cell.textContent = text;
    grid.append(cell);
  };
  ["", ...columns.map((head) => (head === MEAN ? "mean" : head))].forEach(label);
  for (const stem of rows) {
    label(`layer ${numberOf(stem)}`);
    for (const head of columns) grid.append(headButton(stem, head));
  }
  heads.replaceChildren(grid);
}

function headButton(stem, head) {
  const button = document.createElement("button");
  button.type = "button";
  Object.assign(button.dataset, { stem, head });
  button.setAttribute("aria-label", `layer ${numberOf(stem)}, ${head === MEAN ? "mean of the heads" : `head ${head}`}`);
  button.append(document.createElement("canvas"));
  button.addEventListener("click", () => choose(stem, head));
  return button;
}

function choose(stem, head) {
  Object.assign(chosen, { stem, head });
  show();
  if (canvas.getBoundingClientRect().bottom < 100) byId("map-title").scrollIntoView();
}

heads.addEventListener("keydown", (event) => {
  const buttons = [...heads.querySelectorAll("button")], index = buttons.indexOf(document.activeElement);
  const width = new Set(buttons.map((button) => button.dataset.head)).size;
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event.key];
  const next = move && index >= 0 && buttons[index + move];
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.click();
});

/* The large map */

function showMap(layer, tops, step, base) {
  const block = layer?.block, view = block && viewOf(block, layer.before, chosen.head);
  const head = chosen.head === MEAN ? "mean of the heads" : `head ${chosen.head}`;
  byId("map-title").textContent = `${chosen.stem.replace("_layer", " layer ").replace(/_(\w+)_attn/, " · $1-attention")} · ${head}`;
  canvas.hidden = !view;
  byId("map-note").textContent = notes(layer, view, step, base).join(" ");
  document.querySelector(".bar").hidden = !view;
  shown = view ? { ...layer, view, weights: view.weights ?? weightsIn(view), tokens: tokensOf(step, chosen.stem, block.layer) } : null;
  if (view) {
    const top = topOf(chosen.stem, chosen.head, view, layer, tops);
    shown.cells = document.createElement("canvas");
    paint(shown.cells, view, block, top);
    drawBar(Boolean(view.earlier), top);
    drawMap();
  }
  pointAt(at);
}

function notes(layer, view, step, base) {
  if (!layer?.block) return ["There is no such map at this step."];
  if (!view) return ["There is nothing to compare with: the other step has no such head, or positions of another number."];
  const { query_step, key_step, note } = layer.block.layer, said = note ? [`${note}.`] : [];
  if (query_step > 1 || key_step > 1) {
    said.push(`A cell is ${query_step} × ${key_step} positions: the mean over its queries of the sum over its keys.`);
  }
  if (base !== undefined) said.push(`Red: more than at ${steps[base].label}; blue: less. ${sameText(step, base)}`);
  return said;
}

function sameText(step, base) {
  const [now, before] = [steps[step].tokens, steps[base].tokens].map((each) => JSON.stringify(each));
  if (now === "{}" || before === "{}") return "Whether both are of the same text is not known.";
  return now === before ? "Both are of the same text." : "The text is another: positions are compared, not words.";
}

/** The token at each query and at each key; empty where they are not known. */
function tokensOf(step, stem, layer) {
  const [stack, , type] = stem.split("_"), known = steps[step].tokens;
  const text = (name) => texts[known[name]] ?? [];
  const queries = text(stack), keys = type === "cross" ? text("encoder") : queries;
  const before = Array.from({ length: layer.earlier }, (_, place) => `−${layer.earlier - place}`);
  return {
    queries: queries.length === layer.queries ? queries : [],
    keys: keys.length && before.length + keys.length === layer.keys ? [...before, ...keys] : [],
  };
}

/** A label for as many cells as there is room for. */
function labels(cells, step, tokens, cell, room) {
  const every = Math.max(1, Math.ceil(room / cell));
  const found = [];
  for (let index = 0; index < cells; index += every) {
    found.push({ index, text: tokens.length && step === 1 ? tokens[index] : String(index * step) });
  }
  return found;
}

function cut(token) {
  const text = visible(token);
  return text.length > 12 ? `${text.slice(0, 11)}…` : text;
}

function drawMap() {
  const { layer } = shown.block, { tokens } = shown, style = getComputedStyle(canvas);
  const context = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
  const room = byId("map-frame").clientWidth;
  context.font = "11px system-ui, sans-serif";
  const widest = (list, step) => list.length && step === 1
    ? Math.min(84, Math.max(...list.map((token) => context.measureText(cut(token)).width))) : 34;
  const left = Math.ceil(widest(tokens.queries, layer.query_step)) + 24;
  const bottom = (tokens.keys.length && layer.key_step === 1 ? Math.ceil(widest(tokens.keys, 1)) : 12) + 24;
  const most = Math.min(LARGEST, room - left - 2) / Math.max(layer.rows, layer.columns);
  const cell = most >= 1 ? Math.min(40, Math.floor(most)) : most;
  const width = cell * layer.columns, height = cell * layer.rows;
  Object.assign(shown, { left, cell });
  canvas.style.width = `${left + width + 2}px`;
  canvas.style.height = `${ABOVE + height + bottom}px`;
  canvas.width = Math.round((left + width + 2) * ratio);
  canvas.height = Math.round((ABOVE + height + bottom) * ratio);
  context.scale(ratio, ratio);
  context.translate(0, ABOVE);
  context.imageSmoothingEnabled = false;
  context.drawImage(shown.cells, left, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = style.color;
  drawQueries(context, layer, tokens.queries, left, cell, height);
  drawKeys(context, layer, tokens.keys, left, cell, width, height, bottom);
  canvas.setAttribute("aria-label", `${byId("map-title").textContent}, ${byId("map-label").textContent}`);
}

function drawQueries(context, layer, tokens, left, cell, height) {
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const { index, text } of labels(layer.rows, layer.query_step, tokens, cell, 13)) {
    context.fillText(cut(text), left - 5, (index + 0.5) * cell);
  }
  context.save();
  context.translate(9, height / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText("queries", 0, 0);
  context.restore();
}

function drawKeys(context, layer, tokens, left, cell, width, height, bottom) {
  const areTokens = tokens.length && layer.key_step === 1;
  const isSideways = areTokens && tokens.some((token) => context.measureText(cut(token)).width > cell - 4);
  context.textBaseline = "middle";
  for (const { index, text } of labels(layer.columns, layer.key_step, tokens, cell, areTokens ? 13 : 34)) {
    context.save();
    context.translate(left + (index + 0.5) * cell, height + 5);
    if (isSideways) context.rotate(-Math.PI / 2);
    context.textAlign = isSideways ? "right" : "center";
    context.fillText(cut(text), 0, isSideways ? 0 : 5);
    context.restore();
  }
  context.textAlign = "center";
  context.fillText("keys", left + width / 2, height + bottom - 7);
}

function drawBar(isChange, top) {
  const bar = byId("map-bar"), palette = isChange ? CHANGE_COLOURS : WEIGHT_COLOURS;
  bar.width = palette.length;
  const image = new ImageData(palette.length, 1);
  new Uint32Array(image.data.buffer).set(palette);
  bar.getContext("2d").putImageData(image, 0, 0);
  const ends = isChange ? [-top, -top / 4, 0, top / 4, top] : [0, top / 16, top / 4, (top * 9) / 16, top];
  byId("map-ticks").replaceChildren(...ends.map((value) => {
    const tick = document.createElement("span");
    tick.textContent = isChange ? signed(value) : short(value);
    return tick;
  }));
}

/* The cell that is pointed at */

function pointAt(cell) {
  at = cell;
  const layer = shown?.block.layer, readout = byId("map-readout");
  const isInside = cell && layer && cell.row < layer.rows && cell.column < layer.columns;
  spot.hidden = !isInside;
  readout.textContent = isInside ? described(cell, layer) : shown ? "Point at a cell, or move with the arrow keys." : "";
  if (!isInside) return;
  const side = Math.max(3, shown.cell);
  Object.assign(spot.style, {
    left: `${shown.left + (cell.column + 0.5) * shown.cell - side / 2}px`, top: `${ABOVE + (cell.row + 0.5) * shown.cell - side / 2}px`,
    width: `${side}px`, height: `${side}px`,
  });
}

function described({ row, column }, layer) {
  const index = row * layer.columns + column, { view, block, tokens } = shown;
  const places = `${axis("query", "queries", row, layer.query_step, layer.queries, tokens.queries, 0)} → `
    + axis("key", "keys", column, layer.key_step, layer.keys, tokens.keys, layer.earlier);
  if (block.masked?.[index]) return `${places}: masked`;
  if (!view.earlier) return `${places}: ${short(shown.weights[index])}`;
  return `${places}: ${short(view.earlier[index])} → ${short(view.weights[index])}, a change of ${signed(view.values[index])}`;
}

function axis(one, many, cell, step, count, tokens, earlier) {
  const [first, last] = span(cell, step, count);
  const named = tokens.slice(first, last + 1).slice(0, 4).join(" "), more = last - first > 3 ? " …" : "";
  const place = (position) => (position < earlier ? `−${earlier - position}` : position - earlier);
  const where = first === last ? `${one} ${place(first)}` : `${many} ${place(first)} to ${place(last)}`;
  return named ? `${where} “${named}${more}”` : where;
}

canvas.addEventListener("pointermove", (event) => {
  if (!shown) return;
  const box = canvas.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top - ABOVE) / shown.cell);
  const column = Math.floor((event.clientX - box.left - shown.left) / shown.cell);
  const { rows, columns } = shown.block.layer;
  pointAt(row >= 0 && column >= 0 && row < rows && column < columns ? { row, column } : null);
});
canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && pointAt(null));
canvas.addEventListener("keydown", (event) => {
  const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!move || !shown) return;
  event.preventDefault();
  const { rows, columns } = shown.block.layer, from = at ?? { row: 0, column: 0 };
  pointAt({
    row: Math.min(rows - 1, Math.max(0, from.row + move[0])),
    column: Math.min(columns - 1, Math.max(0, from.column + move[1])),
  });
});

/* Controls */

function chooseGroup() {
  chosen.stem = stemsShown().at(-1);
  chosen.head = MEAN;
  show();
}

const kinds = [...new Set(stems.map(kindOf))];
for (const kind of kinds) group.add(new Option(`${kind}-attention`, kind));
group.value = kinds.find((kind) => kind.endsWith("cross")) ?? kinds.at(-1);
group.addEventListener("change", chooseGroup);
for (const control of [against, other, colours]) control.addEventListener("input", show);
playsSteps(slider, play, show);
against.disabled = steps.length < 2;
isDark.addEventListener("change", show);
addEventListener("resize", () => { if (shown) { drawMap(); pointAt(at); } });
if (typeof DecompressionStream === "undefined") byId("map-note").textContent = "This browser is too old to unpack the maps.";
else chooseGroup();
