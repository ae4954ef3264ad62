/* A comparison's page. The functions that it does not define are those of the live page, before it. */
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const option = (value, text) => new Option(text, value);

/* Maps */
const maps = data.maps ? data.maps.layers : [];
const darkness = matchMedia("(prefers-color-scheme: dark)");
const shown = { layer: null, masked: null, a: null, b: null };
const cursor = { row: 0, column: 0 };

/** A map's codes and weights, unpacked when they are first looked at. */
function unpacked(map) {
  map.bytes ??= bytes(map.codes);
  map.weights ??= decode(map.bytes, map.scale);
  return map;
}

function maskOf(layer) {
  const allowed = layer.allowed ? { data: bytes(layer.allowed), shape: layer.allowed_shape } : null;
  return maskedCells(layer, allowed, 0);
}

function paint(id, what, { rows, columns }, fill) {
  const canvas = byId(id), image = new ImageData(columns, rows);
  canvas.width = columns;
  canvas.height = rows;
  canvas.setAttribute("aria-label", `Attention ${what}: queries down, keys to the right`);
  fill(new Uint32Array(image.data.buffer));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function showMaps() {
  const layer = maps[Number(byId("layer").value)], head = layer.heads[Number(byId("head").value)];
  const partner = byId("pairing").value === "matched" ? head.b : head.a;
  const a = unpacked(layer.maps_a[head.a]), b = unpacked(layer.maps_b[partner]), masked = maskOf(layer);
  Object.assign(shown, { layer, masked, a, b });
  const top = Math.max(...[a, b].map((map) => ownTop(map.bytes, map.scale, masked, layer.columns)));
  const weights = (map) => (pixels) => paintCodes(map.bytes, colourTable(WEIGHT_COLOURS, map.scale, top), masked, maskedGrey(darkness.matches), pixels);
  const changes = b.weights.map((weight, cell) => weight - a.weights[cell]);
  const most = roundedTop(largestTold(changes, masked, layer.columns));
  paint("map-a", "of A", layer, weights(a));
  paint("map-b", "of B", layer, weights(b));
  paint("map-d", "of B less A", layer, (pixels) => paintChanges(changes, CHANGE_COLOURS, most, masked, maskedGrey(darkness.matches, true), pixels));
  byId("name-a").textContent = `A · ${layer.name} · head ${head.a} · colours up to ${short(top)}`;
  byId("name-b").textContent = `B · ${layer.name} · head ${partner} · colours up to ${short(top)}`;
  byId("name-d").textContent = `B − A · blue less, white the same, red more · up to ${short(most)}`;
  const bound = layer.at_least ? "at least " : "";
  byId("distance").textContent =
    `As numbered, head ${head.a} of A and of B are ${bound}${short(head.numbered)} bits apart; ` +
    (head.b === head.a ? "no other head of B resembles it more where all are matched together."
      : `matched with head ${head.b} of B, ${bound}${short(head.matched)} bits.`);
  markCell(layer.name, head.a);
}

function listHeads(preferred) {
  const layer = maps[Number(byId("layer").value)];
  const select = byId("head");
  select.replaceChildren(...layer.heads.map((head, index) => option(index, `${head.a}`)));
  const found = layer.heads.findIndex((head) => head.a === preferred);
  select.value = String(Math.max(0, found));
  showMaps();
}

/** The positions of a cell, with their tokens where it is one position. */
function named(word, ends, tokens) {
  const token = ends[0] === ends[1] && tokensAt(tokens, ends);
  return `${word} ${positions(ends)}${token ? ` “${token}”` : ""}`;
}

function tell() {
  const { layer, masked, a, b } = shown, { row, column } = cursor, [queries, keys] = layer.tokens;
  const index = row * layer.columns + column, [first, second] = [a.weights[index], b.weights[index]];
  const query = named("query", span(row, layer.query_step, layer.queries), queries);
  const key = named("key", span(column, layer.key_step, layer.keys), keys);
  const words = masked?.[index] ? "masked" : `A ${short(first)} · B ${short(second)} · B − A ${signed(second - first)}`;
  byId("spot").textContent = `${query} → ${key}: ${words}`;
}

function goTo(row, column) {
  const limit = (value, count) => Math.min(count - 1, Math.max(0, value));
  cursor.row = limit(row, shown.layer.rows);
  cursor.column = limit(column, shown.layer.columns);
  tell();
}

function follow(canvas) {
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), { rows, columns } = shown.layer;
    goTo(Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns));
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    goTo(cursor.row + move[0], cursor.column + move[1]);
  });
}

/* Every head */
const cells = new Map();

function markCell(layer, head) {
  for (const [name, cell] of cells) cell.setAttribute("aria-pressed", String(name === `${layer} ${head}`));
}

function choose(layer, head, words) {
  byId("cell").textContent = words;
  const index = maps.findIndex((each) => each.name === layer);
  if (index < 0 || !maps[index].heads.some((each) => each.a === head)) {
    markCell(layer, head);
    return;
  }
  byId("layer").value = String(index);
  listHeads(head);
}

function showMatrices() {
  const statistic = byId("statistic").value;
  const roles = new Map();
  for (const [layer, head, name, a, b, times] of data.rows) {
    if (name !== statistic) continue;
    const cut = layer.lastIndexOf(" ");
    const role = layer.slice(0, cut), number = Number(layer.slice(cut + 1));
    const rows = roles.get(role) ?? roles.set(role, new Map()).get(role);
    const row = rows.get(number) ?? rows.set(number, new Map()).get(number);
    row.set(head, { layer, a, b, times });
  }
  cells.clear();
  byId("matrices").replaceChildren(...[...roles].map(([role, rows]) => matrix(role, rows, statistic)));
}

const sorted = (numbers) => [...numbers].sort((one, other) => one - other);

function made(tag, text) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  return element;
}

function matrix(role, rows, statistic) {
  const heads = sorted(new Set([...rows.values()].flatMap((row) => [...row.keys()])));
  const table = made("table");
  table.className = "matrix";
  for (const number of sorted(rows.keys())) {
    const line = table.insertRow();
    line.append(made("th", `layer ${number}`));
    for (const head of heads) {
      const found = rows.get(number).get(head);
      const cell = line.insertCell();
      if (found) cell.append(cellButton(found, head, statistic));
    }
  }
  const box = made("div");
  const scroll = made("div");
  scroll.className = "scroll";
  scroll.append(table);
  box.append(made("h3", `${role}: heads ${heads[0]} to ${heads[heads.length - 1]}, from the left`), scroll);
  return box;
}

function cellButton({ layer, a, b, times }, head, statistic) {
  const button = made("button");
  const delta = a === null || b === null ? null : b - a;
  const strength = times === null ? (delta ? 1 : 0) : Math.min(1, times / 3);
  const place = (Math.sign(delta ?? 0) * strength + 1) / 2;
  button.style.backgroundColor = css(CHANGE_COLOURS[Math.min(LEVELS - 1, Math.floor(place * LEVELS))]);
  const wobbles = times === null ? "" : `, ${times < 1000 ? short(times) : "> 1000"} wobbles`;
  const words = delta === null ? `${layer} · head ${head}: ${statistic} is unknown`
    : `${layer} · head ${head}: ${statistic} ${short(a)} → ${short(b)}, ${signed(delta)}${wobbles}`;
  button.title = words;
  button.setAttribute("aria-label", words);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => choose(layer, head, words));
  cells.set(`${layer} ${head}`, button);
  return button;
}

const statistics = [...new Set(data.rows.map((row) => row[2]))];
if (statistics.length) {
  byId("heads").hidden = false;
  byId("statistic").replaceChildren(...statistics.map((name) => option(name, name)));
  byId("statistic").value = statistics.includes("entropy") ? "entropy" : statistics[0];
  byId("statistic").addEventListener("change", () => {
    showMatrices();
    if (maps.length) showMaps();
  });
  showMatrices();
}
if (maps.length) {
  byId("layer").replaceChildren(...maps.map((layer, index) => option(index, layer.name)));
  byId("layer").addEventListener("change", () => listHeads());
  byId("head").addEventListener("change", showMaps);
  byId("pairing").addEventListener("change", showMaps);
  darkness.addEventListener("change", showMaps);
  for (const id of ["map-a", "map-b", "map-d"]) follow(byId(id));
  if (data.maps.left_out) {
    byId("left-out").textContent = `The maps of ${data.maps.left_out} more heads, which differ less, are left out to keep this file small.`;
  }
  const farthest = maps.flatMap((layer, at) => layer.heads.map((head) => [head.numbered ?? -1, at, head.a]));
  const [, at, head] = farthest.reduce((one, other) => (other[0] > one[0] ? other : one));
  byId("layer").value = String(at);
  listHeads(head);
}
