// Charts as SVG: a panel for each method and pair of conditions, a colour and a mark for each factor. Every word is put in as text.
const SVG = "http://www.w3.org/2000/svg";
const factorColor = (k) => `var(--k${k % data.marks.length})`;

function draw(parent, name, attributes, words) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (words !== undefined) node.textContent = words;
  parent.append(node);
  return node;
}

function markOf(k) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("width", 12); svg.setAttribute("height", 12); svg.setAttribute("aria-hidden", "true");
  draw(svg, "path", { d: "M12 12" + data.marks[k % data.marks.length], transform: "scale(.5)", class: "mark", style: `color:${factorColor(k)}` });
  return svg;
}

function key(place, classes) {
  place.replaceChildren(...chosen.targets.map((k) => {
    const span = make("span");
    span.append(markOf(k), document.createTextNode(data.targets[k].name));
    return span;
  }));
}

function ticks(low, high, most) {
  if (!(high > low)) return [];
  const size = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = [0.5, 1, 2, 5, 10].map((part) => part * size).find((one) => (high - low) / one <= most + 1e-9) ?? size * 10;
  const first = Math.ceil(low / step - 1e-9);
  return range(Math.floor(high / step + 1e-9) - first + 1).map((i) => +((first + i) * step).toPrecision(12));
}

function limitsOf(values, chance) {
  const finite = values.filter((v) => v !== null && Number.isFinite(v));
  if (chance !== null) finite.push(chance);
  if (!finite.length) return [0, 1];
  let low = Infinity, high = -Infinity;
  for (const v of finite) { if (v < low) low = v; if (v > high) high = v; }
  const air = 0.04 * (high - low) || 0.05;
  return [low - air, high + air];
}

const scale = (limits, start, end) => (value) => start + (end - start) * (value - limits[0]) / (limits[1] - limits[0]);
const trimmed = (name, room) => name.length > room ? name.slice(0, Math.max(1, room - 1)) + "…" : name;
const wide = (name) => Math.ceil(name.length * 6.9);
const lineOf = (t, p, k, m = metric()) => data.lines[t][p][k][m];

function at(t, p, k, layer) {
  const line = lineOf(t, p, k), i = line ? line.layers.indexOf(layer) : -1;
  return i < 0 || line.value[i] === null ? null : { value: line.value[i], low: line.low[i], high: line.high[i] };
}

const told = (score) => score.low === null ? shown(score.value) : `${shown(score.value)} [${shown(score.low)}, ${shown(score.high)}]`;

// A figure with a caption and an SVG as wide as its column.
function panel(place, title, note, width, height, label) {
  const figure = make("figure"), caption = make("figcaption");
  caption.append(make("b", {}, title));
  if (note) caption.append(document.createTextNode(" " + note));
  figure.append(caption);
  const svg = draw(figure, "svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label, tabindex: place.childElementCount ? -1 : 0 });
  place.append(figure);
  return svg;
}

// A grid in which conditions stand side by side, each in a column of its own where there is place for all; returns the width of a panel.
function sideBySide(place, least) {
  const count = Math.max(1, chosen.transfers.length), all = (place.clientWidth + 18) / count - 18;
  place.aligned = count > 1 && all >= least * 0.8;
  place.style.gridTemplateColumns = place.aligned ? `repeat(${count}, minmax(0, 1fr))` : "";
  return place.aligned ? Math.floor(all) : columnWidth(place, count > 1 ? least : 380);
}

function inColumn(svg, t) {
  const place = svg.closest(".panels");
  if (place.aligned) svg.parentElement.style.gridColumn = chosen.transfers.indexOf(t) + 1;
}

// The width of one panel, from the grid that the style sheet lays out.
function columnWidth(place, least) {
  place.style.setProperty("--least", least + "px");
  const whole = place.clientWidth, columns = Math.max(1, Math.floor((whole + 18) / (least + 18)));
  return Math.floor((whole - 18 * (columns - 1)) / columns);
}

function across(svg, limits, left, right, bottom, title) {
  const x = scale(limits, left, right), every = ticks(...limits, Math.max(2, Math.floor((right - left) / 50)));
  draw(svg, "path", { class: "axis", d: `M${left} ${bottom}H${right}` + every.map((v) => `M${x(v)} ${bottom}v4`).join("") });
  every.forEach((v) => draw(svg, "text", { x: x(v), y: bottom + 15, "text-anchor": "middle" }, String(v).replace("-", "−")));
  if (title) draw(svg, "text", { x: (left + right) / 2, y: bottom + 30, "text-anchor": "middle" }, title);
  return x;
}

function upright(svg, limits, left, right, top, bottom) {
  const y = scale(limits, bottom, top);
  ticks(...limits, Math.max(2, Math.floor((bottom - top) / 28))).forEach((v) => {
    draw(svg, "path", { class: "axis", d: `M${left} ${y(v)}H${right}` });
    draw(svg, "text", { x: left - 5, y: y(v) + 4, "text-anchor": "end" }, String(v).replace("-", "−"));
  });
  return y;
}

function drawOverview() {
  const place = element("overview"), chance = data.metrics[metric()].chance;
  key(element("overview-key"));
  place.replaceChildren();
  const names = chosen.probes.map((p) => data.probes[p].name);
  const width = columnWidth(place, 330), left = Math.min(width * 0.45, Math.max(...names.map(wide), 40) + 10), room = Math.floor(left / 6.9);
  const row = 10 + 7 * chosen.targets.length, height = row * chosen.probes.length + 36;
  const every = [];
  const found = chosen.transfers.map((t) => chosen.probes.map((p) => chosen.targets.map((k) => {
    const score = at(t, p, k, data.summary[t][p]);
    if (score) every.push(score.value, score.low, score.high);
    return score;
  })));
  const limits = limitsOf(every, chance);
  chosen.transfers.forEach((t, i) => {
    if (!found[i].flat().some(Boolean)) return;
    const words = chosen.probes.map((p, j) => `${names[j]}: ` + chosen.targets.map((k, n) => found[i][j][n] && `${data.targets[k].name} ${told(found[i][j][n])}`).filter(Boolean).join(", "));
    const svg = panel(place, data.transfers[t].name, "", width, height, `${data.transfers[t].name}: ${data.metrics[metric()].name} of each method. ${words.join("; ")}`);
    const bottom = height - 34, x = across(svg, limits, left, width - 8, bottom, data.metrics[metric()].name);
    if (chance !== null) draw(svg, "path", { class: "chance", d: `M${x(chance)} 0V${bottom}` });
    names.forEach((name, j) => {
      draw(svg, "text", { class: "name", x: left - 8, y: row * (j + 0.5) + 4, "text-anchor": "end" }, trimmed(name, room - 1));
      if (j) draw(svg, "path", { class: "axis", d: `M${left} ${row * j}H${width - 8}` });
    });
    chosen.targets.forEach((k, n) => {
      let reach = "", marks = "";
      found[i].forEach((scores, j) => {
        const score = scores[n], y = row * j + row * (n + 1) / (chosen.targets.length + 1);
        if (!score) return;
        if (score.low !== null) reach += `M${x(score.low)} ${y}H${x(score.high)}`;
        marks += `M${2 * x(score.value)} ${2 * y}${data.marks[k % data.marks.length]}`;
      });
      const style = `color:${factorColor(k)}`;
      draw(svg, "path", { class: "reach", d: reach, style });
      draw(svg, "path", { class: "mark", d: marks, transform: "scale(.5)", style });
    });
    svg.tell = (px, py) => {
      const j = Math.floor(py / row);
      return j >= 0 && j < names.length ? words[j].replace(": ", "\n").replace(/, (?=[^\]]*(\[|$))/g, "\n") : "";
    };
    svg.walk = { count: names.length, tell: (j) => words[j] };
  });
}

function drawLayers() {
  const place = element("layers"), chance = data.metrics[metric()].chance, bands = element("bands").checked;
  key(element("layers-key"));
  const every = [], lines = [];
  for (const p of chosen.probes) for (const t of chosen.transfers) {
    const own = chosen.targets.map((k) => [k, lineOf(t, p, k)]).filter(([, line]) => line && line.layers.length > 1);
    if (!own.length) continue;
    lines.push([t, p, own]);
    for (const [, line] of own) every.push(...line.value, ...(bands ? [...line.low, ...line.high] : []));
  }
  place.replaceChildren();
  const limits = limitsOf(every, chance), width = sideBySide(place, 230), height = 130;
  const left = 38, right = width - 8, top = 6, bottom = height - 20;
  for (const [t, p, own] of lines) {
    const layers = [...new Set(own.flatMap(([, line]) => line.layers))].map(Number).sort((a, b) => a - b);
    const chosenLayer = data.summary[t][p], tellAt = (i) => `layer ${layers[i]}\n` + own.map(([k, line]) => {
      const j = line.layers.indexOf(String(layers[i]));
      return j < 0 ? "" : `${data.targets[k].name} ${told({ value: line.value[j], low: line.low[j], high: line.high[j] })}`;
    }).filter(Boolean).join("\n");
    const title = data.probes[p].name, note = `on ${data.transfers[t].name}`;
    const svg = panel(place, title, note, width, height, `${title} ${note}, ${data.metrics[metric()].name} by layer; at the last, ${tellAt(layers.length - 1).replace(/\n/g, ", ")}`);
    inColumn(svg, t);
    const y = upright(svg, limits, left, right, top, bottom), x = across(svg, [layers[0], layers[layers.length - 1]], left, right, bottom, "");
    if (chance !== null) draw(svg, "path", { class: "chance", d: `M${left} ${y(chance)}H${right}` });
    if (layers.includes(Number(chosenLayer))) draw(svg, "path", { class: "chance", d: `M${x(Number(chosenLayer))} ${top}V${bottom}` });
    for (const [k, line] of own) {
      const style = `color:${factorColor(k)}`, at = (i, v) => `${x(Number(line.layers[i])).toFixed(1)} ${y(v).toFixed(1)}`;
      if (bands && !line.low.includes(null) && !line.high.includes(null)) {
        draw(svg, "path", { class: "band", style, d: "M" + line.high.map((v, i) => at(i, v)).join("L") + "L" + line.low.map((v, i) => at(i, v)).reverse().join("L") + "z" });
      }
      let d = "", pen = "M";
      line.value.forEach((v, i) => { if (v === null) { pen = "M"; } else { d += pen + at(i, v); pen = "L"; } });
      draw(svg, "path", { class: "line", style, d });
    }
    const rule = draw(svg, "path", { class: "at", d: "" });
    const nearest = (px) => layers.reduce((best, layer, i) => Math.abs(x(layer) - px) < Math.abs(x(layers[best]) - px) ? i : best, 0);
    const show = (i) => { rule.setAttribute("d", `M${x(layers[i])} ${top}V${bottom}`); return `${title} ${note}, ${tellAt(i)}`; };
    svg.tell = (px) => show(nearest(px));
    svg.leave = () => rule.setAttribute("d", "");
    svg.walk = { count: layers.length, start: Math.max(0, layers.indexOf(Number(chosenLayer))), tell: show };
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
let seedValues = null, seedPlaces = null;

function seedsAt(t, p, k, layer) {
  if (!seedValues) {
    seedValues = new Uint16Array(bytes(data.seeds.values).buffer);
    seedPlaces = new Map(data.seeds.places.map(([t, p, k, ...rest]) => [`${t} ${p} ${k}`, rest]));
  }
  const found = seedPlaces.get(`${t} ${p} ${k}`);
  const i = found ? found[0].indexOf(layer) : -1;
  if (i < 0) return [];
  let from = found[2];
  for (let j = 0; j < i; j++) from += found[1][j];
  const { low, high } = data.seeds;
  return Array.from(seedValues.subarray(from, from + found[1][i]), (n) => n > 65534 ? null : low + (high - low) * n / 65534);
}

function drawSeeds() {
  const place = element("seeds"), slider = element("seed-layer"), chance = data.metrics[0].chance;
  const wanted = +slider.value ? seedLayers[+slider.value - 1] : null;
  element("seed-layer-shown").textContent = wanted === null ? "the summary layer" : `layer ${wanted}`;
  slider.setAttribute("aria-valuetext", element("seed-layer-shown").textContent);
  key(element("seeds-key"));
  place.replaceChildren();
  const limits = limitsOf([data.seeds.low, data.seeds.high], chance), width = sideBySide(place, 230);
  const strip = 16, bins = 60;
  for (const p of chosen.probes) for (const t of chosen.transfers) {
    const layer = wanted === null ? data.summary[t][p] : wanted;
    const own = chosen.targets.map((k) => [k, seedsAt(t, p, k, layer).filter((v) => v !== null)]).filter(([, values]) => values.length);
    if (!own.length) continue;
    const height = strip * own.length + 24, title = data.probes[p].name, note = `on ${data.transfers[t].name}, layer ${layer}`;
    const middle = own.map(([k, values]) => `${data.targets[k].name}: median ${shown([...values].sort((a, b) => a - b)[values.length >> 1])} of ${values.length} seeds`);
    const svg = panel(place, title, note, width, height, `${title} ${note}; ${middle.join(", ")}`);
    inColumn(svg, t);
    const x = across(svg, limits, 8, width - 8, height - 20, "");
    if (chance !== null) draw(svg, "path", { class: "chance", d: `M${x(chance)} 0V${height - 20}` });
    own.forEach(([k, values], n) => {
      const counts = new Map();
      for (const v of values) { const b = Math.floor(bins * (v - limits[0]) / (limits[1] - limits[0])); counts.set(b, (counts.get(b) ?? 0) + 1); }
      let d = "";
      const base = strip * (n + 1) - 1, size = (width - 16) / bins;
      for (const [b, count] of counts) { const tall = Math.max(2, (strip - 2) * count / values.length); d += `M${(8 + b * size).toFixed(1)} ${base}v${-tall}h${Math.max(1.5, size - 0.5).toFixed(1)}v${tall}z`; }
      draw(svg, "path", { class: "mark", style: `color:${factorColor(k)}`, d });
    });
    svg.tell = (px, py) => middle[Math.min(middle.length - 1, Math.max(0, Math.floor(py / strip)))];
    svg.walk = { count: middle.length, tell: (i) => middle[i] };
  }
}
