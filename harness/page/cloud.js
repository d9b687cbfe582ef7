// Where the states lie: three principal components on a canvas, turned by dragging or with the arrow keys; a point names its row.
const turned = { across: 0.5, up: 0.35 };
let cloudPlaces = [];

function drawClouds() {
  const place = element("clouds");
  if (place.childElementCount !== data.clouds.length) {
    place.replaceChildren();
    place.style.setProperty("--least", "300px");
    data.clouds.forEach((cloud) => {
      const figure = make("figure"), caption = make("figcaption"), canvas = make("canvas", { tabindex: 0, role: "img" });
      caption.append(make("b", {}, cloud.condition), document.createTextNode(` layer ${cloud.layer}`), make("span", { class: "key" }));
      figure.append(caption, canvas);
      place.append(figure);
      listen(canvas, cloud);
    });
  }
  const wanted = element("cloud-factor").value;
  cloudPlaces = data.clouds.map((cloud, i) => paint(cloud, place.children[i], cloud.factors.find((factor) => factor.name === wanted) ?? cloud.factors[0]));
}

function paint(cloud, figure, factor) {
  const canvas = figure.querySelector("canvas"), ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  context.scale(ratio, ratio);
  const hues = factor.classes.map((_, k) => style.getPropertyValue(`--k${(data.targets.findIndex((target) => target.name === factor.name) + data.marks.length) % data.marks.length}`).trim());
  const [sa, ca, su, cu] = [Math.sin(turned.across), Math.cos(turned.across), Math.sin(turned.up), Math.cos(turned.up)];
  let most = 1e-12;
  for (const values of cloud.places) for (const v of values) if (v !== null && Math.abs(v) > most) most = Math.abs(v);
  const size = 0.42 * Math.min(width, height) / most, points = factor.of.map((_, i) => {
    const [x, y, z] = cloud.places.map((values) => values[i] ?? 0), deep = -sa * x + ca * z;
    return [width / 2 + size * (ca * x + sa * z), height / 2 - size * (cu * y - su * deep), su * y + cu * deep];
  });
  // The axes, named by their component.
  context.font = "11px sans-serif";
  ["1st", "2nd", "3rd"].forEach((name, axis) => {
    const [x, y, z] = [0, 1, 2].map((k) => k === axis ? most : 0), deep = -sa * x + ca * z;
    const end = [width / 2 + size * (ca * x + sa * z), height / 2 - size * (cu * y - su * deep)];
    context.strokeStyle = style.getPropertyValue("--grid"); context.beginPath(); context.moveTo(width / 2, height / 2); context.lineTo(...end); context.stroke();
    context.fillStyle = style.getPropertyValue("--quiet"); context.fillText(name, ...end);
  });
  // The last class is filled, those before it are rings: the colour says which factor, as everywhere.
  factor.of.map((_, i) => i).sort((a, b) => points[a][2] - points[b][2]).forEach((i) => {
    const full = factor.of[i] === factor.classes.length - 1, here = canvas.told === i;
    context.beginPath(); context.arc(points[i][0], points[i][1], here ? 6 : 3, 0, 7);
    context.globalAlpha = here ? 1 : factor.classes.length > 2 ? 0.35 + 0.6 * factor.of[i] / factor.classes.length : 0.75;
    context.fillStyle = context.strokeStyle = here ? style.getPropertyValue("--ink") : hues[factor.of[i]];
    if (full || here) context.fill(); else context.stroke();
  });
  context.globalAlpha = 1;
  figure.querySelector(".key").textContent = factor.classes.map((name, k) => `${k === factor.classes.length - 1 ? "●" : "○"} ${name}`).join("  ");
  canvas.setAttribute("aria-label", `${cloud.condition}: ${factor.of.length} states by ${factor.name}. Arrow keys turn, + and − name one state after another, Enter shows its row.`);
  return points;
}

function pointText(cloud, i) {
  const known = cloud.rows === null ? null : data.rows.conditions[cloud.rows];
  const labels = cloud.factors.map((factor) => `${factor.name} ${factor.classes[factor.of[i]] || "–"}`).join(", ");
  return known && i < known.ids.length ? `row ${known.ids[i]}: ${labels}\n${known.texts[i]}` : `row ${i + 1}: ${labels}`;
}

function listen(canvas, cloud) {
  let held = null;
  const nearest = (event) => {
    const box = canvas.getBoundingClientRect(), points = cloudPlaces[data.clouds.indexOf(cloud)] ?? [];
    let best = -1, reach = 144;
    points.forEach(([x, y], i) => { const d = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2; if (d < reach) { reach = d; best = i; } });
    return best;
  };
  const tellPoint = (i, event) => { canvas.told = i; drawClouds(); tip(i < 0 ? "" : pointText(cloud, i), event, canvas); };
  canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY, turned.across, turned.up, false]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) { const i = nearest(event); if (i !== (canvas.told ?? -1)) tellPoint(i, event); return; }
    const [x, y, across, up] = held;
    held[4] ||= Math.hypot(event.clientX - x, event.clientY - y) > 4;
    turned.across = across + (event.clientX - x) / 120; turned.up = up + (event.clientY - y) / 120;
    drawClouds();
  });
  canvas.addEventListener("pointerup", (event) => { const moved = held && held[4]; held = null; const i = nearest(event); if (!moved && i >= 0) { tellPoint(i, event); showRow(cloud, i); } });
  canvas.addEventListener("pointerleave", () => { if (!held) tellPoint(-1); });
  canvas.addEventListener("blur", () => tellPoint(-1));
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    const count = cloud.factors[0].of.length, step = { "+": 1, "=": 1, "-": -1 }[event.key];
    if (turns) { turned.across += turns[0]; turned.up += turns[1]; drawClouds(); }
    else if (step) tellPoint(((canvas.told ?? -1) + step + count) % count, null);
    else if (event.key === "Enter" && canvas.told >= 0) showRow(cloud, canvas.told);
    else return;
    event.preventDefault();
  });
}
