// Tables that sort and filter, and a long one of which a page is shown at a time.
const numberIn = (text) => { const found = /^[✅❌❔\s]*([−-]?[\d.,]+(?:e[−-]?\d+)?)/.exec(text); return found ? Number(found[1].replace("−", "-").replace(/,/g, "")) : NaN; };
const compared = (a, b) => {
  const x = typeof a === "number" ? a : numberIn(a ?? ""), y = typeof b === "number" ? b : numberIn(b ?? "");
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  return Number.isNaN(x) ? String(a ?? "").localeCompare(String(b ?? "")) : x - y;
};

// Which way a column is sorted after its head was pressed.
function pressed(heads, chosenHead) {
  const way = chosenHead.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  chosenHead.setAttribute("aria-sort", way);
  return way === "ascending" ? 1 : -1;
}

function asButton(head) {
  const button = make("button", { type: "button" });
  button.append(...head.childNodes);
  head.append(button);
  return button;
}

// A table that is in the page: its heads sort it, and a field above finds rows.
function enhance(table) {
  const body = table.tBodies[0], heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
  if (!body || body.rows.length < 3) return;
  const rows = [...body.rows];
  if (rows.length > 25 && table.tHead) table.closest(".scroll")?.classList.add("tall");
  heads.forEach((head, i) => {
    if (!head.textContent.trim()) return;
    asButton(head).addEventListener("click", () => {
      const way = pressed(heads, head);
      const keyed = rows.map((row) => [row.cells[i]?.textContent.trim() ?? "", row]);
      keyed.sort((a, b) => way * compared(a[0], b[0]));
      body.append(...keyed.map(([, row]) => row));
    });
  });
  if (rows.length < 8 || !heads.length) return;
  const label = make("label", { class: "controls" }, "find in table "), field = make("input", { type: "search" });
  label.append(field);
  (table.closest(".scroll") ?? table).before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    rows.forEach((row) => row.classList.toggle("unfound", !row.textContent.toLowerCase().includes(wanted)));
    table.dispatchEvent(new Event("narrowed"));
  });
}

// `columns`: { name, of(row) → text or number, cell(row) → text, number }. `rows()` are all; what the field finds is asked of `text(row)`.
class LongTable {
  constructor(place, { columns, rows, text, label, count = 50, picked }) {
    Object.assign(this, { place, columns, rows, text, count, picked, page: 0, sort: null, way: 1, wanted: "", told: null });
    this.status = make("span", { role: "status", class: "note" });
    this.back = make("button", { type: "button" }, "‹ before"); this.on = make("button", { type: "button" }, "next ›");
    this.back.addEventListener("click", () => this.turn(-1)); this.on.addEventListener("click", () => this.turn(1));
    const bar = make("div", { class: "controls" });
    bar.append(this.back, this.on, this.status);
    const scroll = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label });
    this.table = make("table"); this.table.append(make("caption", { hidden: "" }, label));
    this.head = this.table.createTHead().insertRow(); this.body = this.table.createTBody();
    scroll.append(this.table);
    place.replaceChildren(bar, scroll);
  }
  heads() {
    const columns = this.columns();
    this.head.replaceChildren(...columns.map((column) => make("th", { scope: "col", class: column.number ? "number" : "" }, column.name)));
    const cells = [...this.head.cells];
    cells.forEach((head, i) => {
      if (columns[i].name === this.sort) head.setAttribute("aria-sort", this.way > 0 ? "ascending" : "descending");
      asButton(head).addEventListener("click", () => { this.way = pressed(cells, head); this.sort = columns[i].name; this.refresh(); });
    });
    return columns;
  }
  refresh() {
    const columns = this.heads(), wanted = this.wanted.toLowerCase();
    let found = this.rows();
    if (wanted) found = found.filter((row) => this.text(row).toLowerCase().includes(wanted));
    const column = columns.find((one) => one.name === this.sort);
    if (column) found = found.map((row) => [column.of(row), row]).sort((a, b) => this.way * compared(a[0], b[0])).map(([, row]) => row);
    this.found = found; this.page = 0;
    this.show();
  }
  turn(by) { this.page += by; this.show(); }
  find(row) { const i = this.found.indexOf(row); if (i < 0) return false; this.told = row; this.page = Math.floor(i / this.count); this.show(); return true; }
  show() {
    const from = this.page * this.count, part = this.found.slice(from, from + this.count), columns = this.columns();
    this.body.replaceChildren(...part.map((row) => {
      const line = make("tr", row === this.told ? { class: "told", id: "told" } : {});
      columns.forEach((column) => line.append(make("td", { class: column.kind ?? (column.number ? "number" : "") }, (column.cell ?? column.of)(row))));
      return line;
    }));
    this.status.textContent = this.found.length ? `${from + 1} to ${from + part.length} of ${this.found.length}` : "none";
    this.back.disabled = !from; this.on.disabled = from + this.count >= this.found.length;
  }
}
