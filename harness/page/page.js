// The page: what is chosen, kept in the address; each chart drawn when it is near; rows and numbers in long tables.
const data = JSON.parse(document.getElementById("data").textContent);
const chosen = { transfers: [], probes: [], targets: [] };
const metric = () => +(element("metric")?.value ?? 0);
const charts = [["overview", drawOverview], ["layers", drawLayers], ["seeds", drawSeeds], ["clouds", drawClouds]].filter(([id]) => element(id));
const dirty = new Set();
let seedLayers = [], rowTable = null, numberTable = null;

// ---- what is chosen, and the address

const controls = () => [...document.querySelectorAll("[data-key]")];
const valueOf = (control) => control.type === "checkbox" ? String(+control.checked) : control.value;
const first = new Map();

function put(control, value) {
  if (control.type === "checkbox") control.checked = value === "1"; else control.value = value;
  if (control.tagName === "SELECT" && control.selectedIndex < 0) control.selectedIndex = 0;
}

function addressed() {
  const [anchor, query = ""] = location.hash.slice(1).split("?");
  return [anchor, new URLSearchParams(query)];
}

function keep(anchor = addressed()[0]) {
  const query = new URLSearchParams();
  for (const control of controls()) if (valueOf(control) !== first.get(control) && !(first.get(control) === "" && control.selectedIndex === 0)) query.set(control.dataset.key, valueOf(control));
  const text = query.toString();
  history.replaceState(null, "", "#" + anchor + (text ? "?" + text : ""));
}

function recall() {
  const [anchor, query] = addressed();
  for (const control of controls()) put(control, query.get(control.dataset.key) ?? first.get(control));
  choose();
  refreshRows();
  refreshNumbers();
  if (anchor) element(anchor)?.scrollIntoView();
}

function choose() {
  for (const kind of ["transfers", "probes", "targets"]) {
    chosen[kind] = [...document.querySelectorAll(`[data-of="${kind}"]`)].filter((box) => box.checked).map((box) => +box.value);
  }
  const of = (kind, one, many) => { const all = data[kind].length; return `${chosen[kind].length === all ? "all" : chosen[kind].length + " of"} ${all} ${all === 1 ? one : many}`; };
  const line = element("chosen");
  if (line) line.textContent = `Shown: ${of("transfers", "pair of conditions", "pairs of conditions")}, ${of("probes", "method", "methods")}, ${of("targets", "factor", "factors")}; ${data.metrics[metric()]?.name ?? ""}`;
  document.querySelectorAll("tr[data-transfer]").forEach((row) => {
    row.classList.toggle("unchosen", !chosen.transfers.includes(+row.dataset.transfer) || !chosen.probes.includes(+row.dataset.probe));
  });
  redraw();
}

const near = (place) => { const box = place.getBoundingClientRect(); return box.bottom > -400 && box.top < innerHeight + 400; };

function redraw(only) {
  for (const [id] of charts) if (!only || only.includes(id)) dirty.add(id);
  drawNear();
}

function drawNear() {
  for (const [id, drawn] of charts) if (dirty.has(id) && near(element(id))) { dirty.delete(id); drawn(); }
}

// ---- pointing

function tip(text, event, at) {
  const box = element("tip");
  box.textContent = text;
  if (!text) return;
  const from = event ? { left: event.clientX, bottom: event.clientY, top: event.clientY } : at.getBoundingClientRect();
  box.style.left = Math.max(6, Math.min(from.left + 14, innerWidth - box.offsetWidth - 8)) + "px";
  const below = from.bottom + 14;
  box.style.top = (below + box.offsetHeight < innerHeight ? below : Math.max(6, from.top - box.offsetHeight - 10)) + "px";
}

function pointing(place) {
  const svgOf = (event) => event.target.closest?.("svg[role=img]");
  place.addEventListener("pointermove", (event) => {
    const svg = svgOf(event);
    if (!svg?.tell) return tip("");
    const box = svg.getBoundingClientRect(), size = svg.viewBox.baseVal;
    tip(svg.tell((event.clientX - box.left) * size.width / box.width, (event.clientY - box.top) * size.height / box.height), event);
  });
  place.addEventListener("pointerout", (event) => { svgOf(event)?.leave?.(); tip(""); });
  place.addEventListener("focusout", (event) => { svgOf(event)?.leave?.(); tip(""); });
  place.addEventListener("keydown", (event) => {
    const svg = svgOf(event), panels = [...place.querySelectorAll("svg[role=img]")], i = panels.indexOf(svg);
    if (i < 0) return;
    const to = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: panels.length - 1 }[event.key], step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (to !== undefined && panels[to]) { svg.setAttribute("tabindex", -1); panels[to].setAttribute("tabindex", 0); panels[to].focus(); }
    else if (step && svg.walk) {
      const { count, start = 0 } = svg.walk;
      svg.at = svg.at === undefined ? start : (svg.at + step + count) % count;
      const said = svg.walk.tell(svg.at);
      tip(said, null, svg);
      element("said").textContent = said;
    } else return;
    event.preventDefault();
  });
}

// ---- rows and numbers

const wordOf = (classes, i) => classes.of[i] < 0 ? "" : classes.words[classes.of[i]];

function refreshRows() {
  if (!element("rows-table")) return;
  const known = data.rows.conditions[+element("rows-on").value];
  const methods = data.rows.said.filter((one) => data.rows.conditions[one.condition] === known);
  const select = element("rows-method"), wanted = select.value || addressed()[1].get("rows.method");
  const names = methods.map((one) => one.from === known.name ? one.method : `${one.method} (${one.from})`);
  select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
  if (names.includes(wanted)) select.value = wanted;
  const said = methods[Math.max(0, names.indexOf(select.value))];
  if (!said) return;
  const wrong = element("rows-wrong").checked;
  rowTable ??= new LongTable(element("rows-table"), { columns: () => rowTable.shape, rows: () => rowTable.every, text: (i) => rowTable.known.texts[i] + " " + rowTable.known.ids[i], label: "rows", count: 15 });
  rowTable.known = known;
  rowTable.every = range(known.ids.length).filter((i) => !wrong || (said.right[i] ?? 1000) < 500);
  rowTable.shape = [
    { name: "row", of: (i) => known.ids[i] },
    { name: "text", of: (i) => known.texts[i], kind: "text" },
    ...known.labels.map((label) => ({ name: label.name, of: (i) => wordOf(label, i) })),
    { name: "answer", of: (i) => wordOf(said.answer, i) },
    { name: "right", of: (i) => said.right[i] ?? NaN, cell: (i) => said.right[i] === null ? "–" : said.right[i] === 1000 ? "✓" : said.right[i] === 0 ? "✗" : `${Math.round(said.right[i] / 10)} % of seeds`, number: true },
    { name: "probability", of: (i) => said.probability[i] ?? NaN, cell: (i) => said.probability[i] === null ? "–" : shown(said.probability[i] / 1000), number: true },
    { name: "confidence", of: (i) => said.probability[i] === null ? NaN : Math.abs(said.probability[i] - 500), cell: (i) => said.probability[i] === null ? "–" : shown(Math.abs(said.probability[i] / 500 - 1)), number: true },
    ...(known.own.words.length ? [{ name: "the network itself", of: (i) => wordOf(known.own, i) }] : []),
  ];
  rowTable.wanted = element("rows-find").value;
  rowTable.refresh();
  const judged = said.right.filter((right) => right !== null);
  element("rows-note").textContent = `${said.method} at layer ${said.layer}: ${judged.filter((right) => right < 500).length} of ${judged.length} rows wrong` + (known.whole > known.ids.length ? `; the first ${known.ids.length} of ${known.whole} rows are here, all in rows.parquet` : "");
}

function showRow(cloud, i) {
  if (cloud.rows === null || !rowTable) return;
  put(element("rows-on"), String(cloud.rows)); put(element("rows-wrong"), "0"); put(element("rows-find"), "");
  refreshRows();
  rowTable.find(i);
  keep("rows");
  element("told")?.scrollIntoView({ block: "center" });
}

let numbers = null;

function refreshNumbers() {
  if (!element("numbers-table")) return;
  if (!element("numbers").open) return;
  if (!numbers) {
    numbers = [];
    data.lines.forEach((probes, t) => probes.forEach((targets, p) => targets.forEach((metrics, k) => metrics.forEach((line, m) => line?.layers.forEach((layer, i) => numbers.push([t, p, k, m, layer, line.value[i], line.low[i], line.high[i]]))))));
  }
  const plain = (name, i, list) => ({ name, of: (row) => list[row[i]].name });
  const counted = (name, i) => ({ name, of: (row) => row[i] ?? NaN, cell: (row) => shown(row[i], 4), number: true });
  numberTable ??= new LongTable(element("numbers-table"), {
    columns: () => [plain("conditions", 0, data.transfers), plain("method", 1, data.probes), plain("factor", 2, data.targets), plain("metric", 3, data.metrics), { name: "layer", of: (row) => row[4], number: true }, counted("value", 5), counted("low", 6), counted("high", 7)],
    rows: () => numbers.filter((row) => chosen.transfers.includes(row[0]) && chosen.probes.includes(row[1]) && chosen.targets.includes(row[2])),
    text: (row) => [data.transfers[row[0]].name, data.probes[row[1]].name, data.targets[row[2]].name, data.metrics[row[3]].name, row[4]].join(" "),
    label: "all numbers",
  });
  numberTable.wanted = element("numbers-find").value;
  numberTable.refresh();
}

// ---- all together

function start() {
  const layers = new Set(data.seeds.places.flatMap(([, , , kept]) => kept));
  seedLayers = [...layers].sort((a, b) => Number(a) - Number(b));
  if (element("seed-layer")) element("seed-layer").max = seedLayers.length;
  document.querySelectorAll("[data-of=targets]").forEach((box) => box.after(markOf(+box.value)));
  document.querySelectorAll("main table").forEach(enhance);
  controls().forEach((control) => first.set(control, valueOf(control)));
  charts.filter(([id]) => id !== "clouds").forEach(([id]) => pointing(element(id)));
  document.addEventListener("input", (event) => {
    const control = event.target, name = control.dataset?.key;
    if (!name) return;
    keep();
    if (control.dataset.of || control.id === "metric") { choose(); refreshNumbers(); }
    else if (control.id === "bands") redraw(["layers"]);
    else if (control.id === "seed-layer") redraw(["seeds"]);
    else if (control.id === "cloud-factor") redraw(["clouds"]);
    else if (name.startsWith("rows.")) refreshRows();
    else if (name.startsWith("numbers.")) refreshNumbers();
  });
  document.querySelectorAll("[data-all]").forEach((button) => button.addEventListener("click", () => {
    document.querySelectorAll(`[data-of="${button.dataset.all}"]`).forEach((box) => { box.checked = button.dataset.on === "1"; });
    choose(); keep(); refreshNumbers();
  }));
  document.querySelector("nav").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    keep(link.hash.slice(1));
    const place = element(link.hash.slice(1));
    place.scrollIntoView();
    place.setAttribute("tabindex", -1); place.focus({ preventScroll: true });
  });
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  addEventListener("scroll", () => {
    drawNear();
    let here = null;
    for (const id of links.keys()) if ((element(id)?.getBoundingClientRect().top ?? Infinity) < 120) here = id;
    links.forEach((link, id) => id === here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"));
  }, { passive: true });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(["clouds"]));
  addEventListener("hashchange", recall);
  element("numbers")?.addEventListener("toggle", refreshNumbers);
  addEventListener("keydown", (event) => { if (event.key === "Escape") tip(""); });
  recall();
}

start();
