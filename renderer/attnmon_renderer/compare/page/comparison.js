"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const LEVELS = data.weights.length;

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const option = (value, text) => new Option(text, value);
  const short = (value) => (value === null ? "unknown" : String(Number(value.toPrecision(3))).replace("-", "−"));

  /* Maps */
  const maps = data.maps ? data.maps.layers : [];
  const isMasked = (layer, index) => (layer.maskBits[index >> 3] >> (7 - (index & 7))) & 1;

  function decoded(map) {
    map.bytes ??= bytes(map.codes);
    return map;
  }

  const weightOf = (map, index) => map.scale * (map.bytes[index] / 255) ** 2;

  function paint(canvas, layer, colourOf) {
    canvas.width = layer.columns;
    canvas.height = layer.rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(layer.columns, layer.rows);
    for (let index = 0; index < layer.rows * layer.columns; index++) {
      const [red, green, blue] = colourOf(index);
      image.data.set([red, green, blue, 255], 4 * index);
    }
    context.putImageData(image, 0, 0);
  }

  const level = (share) => Math.min(LEVELS - 1, Math.max(0, Math.floor(share * LEVELS)));
  const grey = (value) => [value, value, value];

  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const shown = { layer: null, a: null, b: null };

  function partnerOf(head) { return byId("pairing").value === "matched" ? head.b : head.a; }

  function showMaps() {
    const layer = maps[Number(byId("layer").value)];
    const head = layer.heads[Number(byId("head").value)];
    const partner = partnerOf(head);
    layer.maskBits ??= bytes(layer.masked);
    const a = decoded(layer.maps_a[head.a]), b = decoded(layer.maps_b[partner]);
    Object.assign(shown, { layer, a, b });
    const top = Math.max(a.scale, b.scale) || 1;
    const cells = layer.rows * layer.columns;
    let most = 0;
    for (let index = 0; index < cells; index++) {
      most = Math.max(most, Math.abs(weightOf(b, index) - weightOf(a, index)));
    }
    const masked = (index, which) =>
      isMasked(layer, index) && grey(data.masked[darkness.matches ? "dark" : which]);
    for (const [id, map] of [["map-a", a], ["map-b", b]]) {
      const root = Math.sqrt(map.scale / top) / 255;
      paint(byId(id), layer, (index) => masked(index, "weights") || data.weights[level(map.bytes[index] * root)]);
    }
    paint(byId("map-d"), layer, (index) => {
      const change = (weightOf(b, index) - weightOf(a, index)) / (most || 1);
      return masked(index, "changes") || data.changes[level((Math.sign(change) * Math.sqrt(Math.abs(change)) + 1) / 2)];
    });
    byId("name-a").textContent = `A · ${layer.name} · head ${head.a} · colours up to ${short(top)}`;
    byId("name-b").textContent = `B · ${layer.name} · head ${partner} · colours up to ${short(top)}`;
    byId("name-d").textContent = `B − A · blue less, white the same, red more · up to ${short(most)}`;
    for (const [id, what] of [["map-a", "of A"], ["map-b", "of B"], ["map-d", "of B less A"]]) {
      byId(id).setAttribute("aria-label", `Attention ${what}: queries down, keys to the right`);
    }
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

  function place(layer, row, column) {
    const name = (tokens, cell, step, word) => {
      if (step > 1) return `${word} ${cell * step} to ${cell * step + step - 1}`;
      return tokens.length > cell ? `${word} ${cell} “${tokens[cell]}”` : `${word} ${cell}`;
    };
    return `${name(layer.queries, row, layer.query_step, "query")} → ${name(layer.keys, column, layer.key_step, "key")}`;
  }

  const cursor = { row: 0, column: 0 };

  function tell() {
    const { layer, a, b } = shown;
    const index = cursor.row * layer.columns + cursor.column;
    const first = weightOf(a, index), second = weightOf(b, index);
    const words = isMasked(layer, index) ? "masked"
      : `A ${short(first)} · B ${short(second)} · B − A ${second >= first ? "+" : ""}${short(second - first)}`;
    byId("spot").textContent = `${place(layer, cursor.row, cursor.column)}: ${words}`;
  }

  function follow(canvas) {
    const limit = (value, count) => Math.min(count - 1, Math.max(0, value));
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      cursor.row = limit(Math.floor((event.clientY - box.top) / box.height * shown.layer.rows), shown.layer.rows);
      cursor.column = limit(Math.floor((event.clientX - box.left) / box.width * shown.layer.columns), shown.layer.columns);
      tell();
    });
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      cursor.row = limit(cursor.row + move[0], shown.layer.rows);
      cursor.column = limit(cursor.column + move[1], shown.layer.columns);
      tell();
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
    const [red, green, blue] = data.changes[level((Math.sign(delta ?? 0) * strength + 1) / 2)];
    button.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
    const wobbles = times === null ? "" : `, ${times < 1000 ? short(times) : "> 1000"} wobbles`;
    const words = delta === null ? `${layer} · head ${head}: ${statistic} is unknown`
      : `${layer} · head ${head}: ${statistic} ${short(a)} → ${short(b)}, ${delta >= 0 ? "+" : ""}${short(delta)}${wobbles}`;
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
}
