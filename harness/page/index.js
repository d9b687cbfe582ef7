// The index over reports: any two of them, number by number and check by check.
const data = JSON.parse(element("data").textContent);
const controls = [...document.querySelectorAll("[data-key]")];
const valueOf = (control) => control.type === "checkbox" ? String(+control.checked) : control.value;
const first = new Map();

// Whether the interval of a − b excludes zero: the sides that face each other, squared and added (Newcombe 1998, method 10).
function apart(a, b) {
  if ([a.low, a.high, b.low, b.high].includes(null)) return false;
  const [up, down] = a.value >= b.value ? [a, b] : [b, a];
  return up.value - down.value > Math.hypot(Math.max(up.value - up.low, 0), Math.max(down.high - down.value, 0));
}

function scoresOf(report, any) {
  const found = new Map();
  for (const [fitOn, testedOn, probe, target, metric, layer, value, low, high] of report.rows) {
    const names = [fitOn, testedOn, probe, target, metric].map((i) => report.words[i]);
    if (value === null) continue;
    const place = names[0] === names[1] ? names[0] : `${names[0]} → ${names[1]}`;
    const key = JSON.stringify(any ? [names[2], names[3], names[4]] : names);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push({ place, probe: names[2], target: names[3], metric: names[4], layer: report.words[layer], value, low, high });
  }
  return found;
}

const told = (score) => score.low === null ? shown(score.value) : `${shown(score.value)} [${shown(score.low)}, ${shown(score.high)}]`;
let table = null, checks = null, rows = [], judged = [];

function compare() {
  const old = data.reports[+element("old").value], other = data.reports[+element("new").value], any = element("places").value === "any";
  const before = scoresOf(old, any), now = scoresOf(other, any);
  rows = [];
  for (const [key, mine] of before) for (const a of mine) for (const b of now.get(key) ?? []) rows.push({ a, b, apart: apart(a, b), moved: b.value - a.value });
  rows.sort((x, y) => y.apart - x.apart || Math.abs(y.moved) - Math.abs(x.moved));
  const beyond = rows.filter((row) => row.apart).length;
  element("summary").textContent = `${old.name} and ${other.name} have ${rows.length} numbers in common; ${beyond} are apart.`;
  if (element("apart").checked) rows = rows.filter((row) => row.apart);
  const twice = (a, b) => a === b ? a : `${a} | ${b}`;
  table ??= new LongTable(element("rows"), {
    columns: () => [
      { name: "conditions", of: (row) => twice(row.a.place, row.b.place) }, { name: "method", of: (row) => row.a.probe }, { name: "factor", of: (row) => row.a.target },
      { name: "metric", of: (row) => row.a.metric }, { name: "layer", of: (row) => twice(row.a.layer, row.b.layer) }, { name: "one", of: (row) => row.a.value, cell: (row) => told(row.a), number: true },
      { name: "other", of: (row) => row.b.value, cell: (row) => told(row.b), number: true }, { name: "difference", of: (row) => row.moved, cell: (row) => (row.moved > 0 ? "+" : "") + shown(row.moved), number: true },
      { name: "apart", of: (row) => row.apart ? "apart" : "" },
    ],
    rows: () => rows, text: (row) => [row.a.place, row.b.place, row.a.probe, row.a.target, row.a.metric].join(" "), label: "numbers of both reports", count: 30,
  });
  const claims = new Map(other.checks.map((check) => [check.claim, check]));
  judged = old.checks.filter((check) => claims.has(check.claim)).map((check) => [check, claims.get(check.claim)]);
  checks ??= new LongTable(element("checks"), {
    columns: () => [
      { name: "claim", of: ([a]) => a.claim }, { name: "one", of: ([a]) => a.finding }, { name: "other", of: ([, b]) => b.finding },
      { name: "value of one", of: ([a]) => a.value ?? NaN, cell: ([a]) => shown(a.value), number: true }, { name: "value of the other", of: ([, b]) => b.value ?? NaN, cell: ([, b]) => shown(b.value), number: true },
      { name: "changed", of: ([a, b]) => a.finding === b.finding ? "" : "changed" },
    ],
    rows: () => judged, text: ([a]) => a.claim, label: "checks of both reports", count: 30,
  });
  table.wanted = checks.wanted = element("find").value;
  table.refresh();
  checks.refresh();
}

function recall() {
  const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
  for (const control of controls) {
    const value = query.get(control.dataset.key) ?? first.get(control);
    if (control.type === "checkbox") control.checked = value === "1"; else control.value = value;
    if (control.tagName === "SELECT" && control.selectedIndex < 0) control.selectedIndex = 0;
  }
  compare();
}

if (data.reports.length > 1) element("new").selectedIndex = 1;
controls.forEach((control) => first.set(control, valueOf(control)));
document.querySelectorAll("main table").forEach(enhance);
document.addEventListener("input", (event) => {
  if (!event.target.dataset?.key) return;
  const query = new URLSearchParams(controls.filter((control) => valueOf(control) !== first.get(control)).map((control) => [control.dataset.key, valueOf(control)]));
  history.replaceState(null, "", "#comparison?" + query);
  compare();
});
addEventListener("hashchange", recall);
if (data.reports.length) recall();
