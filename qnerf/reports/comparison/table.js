// Every cell in a table that sorts by any column: what the charts show, within reach of keys and of a text search.

const MOST_ROWS = 500; // drawn at once, until all are asked for: thousands of rows take seconds
const order = { column: null, descending: false };
let showsAll = false;

function drawTable() {
  const cells = keptCells();
  const columns = tableColumns();
  const shown = showsAll ? sorted(cells, columns) : sorted(cells, columns).slice(0, MOST_ROWS);
  const rows = shown.map((cell) => tableRow(cell, columns));
  document.getElementById("cells").replaceChildren(tableHead(columns), element("tbody", {}, ...rows));
  const part = cells.length < data.cells.length ? `${cells.length} of ${data.cells.length} cells, within the ranges above.` : "";
  const first = shown.length < cells.length ? `The first ${MOST_ROWS} rows are shown.` : "";
  document.getElementById("table-note").textContent = `${part} ${first} Click a heading to sort. The button of a row shows its cell.`.trim();
  const all = document.getElementById("all-rows");
  all.hidden = !first;
  all.textContent = `Show all ${cells.length} rows`;
  all.onclick = () => { showsAll = true; drawTable(); };
}

/** Marks the row of the shown cell. */
function markRow() {
  document.querySelector("#cells tr.selected")?.classList.remove("selected");
  document.querySelector(`#cells [data-cell="${state.cell}"]`)?.closest("tr").classList.add("selected");
}

/** The shown table as a file, with figures as they were measured. */
function downloadTable() {
  const columns = tableColumns();
  const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  const lines = [columns.map((column) => column.name.replace(/ [↑↓]$/, "")), ...sorted(keptCells(), columns).map((cell) => columns.map((column) => column.value(cell)))];
  const link = element("a", { download: `${data.name}.csv`, href: URL.createObjectURL(new Blob([lines.map((line) => line.map(quoted).join(",")).join("\n")], { type: "text/csv" })) });
  link.click();
  URL.revokeObjectURL(link.href);
}

function tableColumns() {
  const setting = (key) => ({ name: key, value: (cell) => cell.settings[key], text: (cell) => shorten(cell.settings[key], 24) });
  const figure = (key) => ({ name: title(key), value: (cell) => cell.metrics[key], text: (cell) => show(cell.metrics[key], key) });
  const plain = (key) => ({ name: key, value: (cell) => cell[key], text: (cell) => cell[key] });
  const figures = [...new Set([state.metric, state.across, state.up, "seconds"])];
  const places = ["scene", "seed"].filter((key) => !sweptKeys.some((swept) => swept === key || swept === `${key}.path`));
  return [...sweptKeys.map(setting), ...places.map(plain), plain("status"), ...figures.map(figure)];
}

function tableHead(columns) {
  const heads = columns.map((column) => {
    const direction = order.column === column.name ? (order.descending ? "descending" : "ascending") : "none";
    const button = element("button", { type: "button" }, `${column.name}${{ ascending: " ▲", descending: " ▼", none: "" }[direction]}`);
    button.onclick = () => sortBy(column.name);
    return element("th", { scope: "col", "aria-sort": direction }, button);
  });
  return element("thead", {}, element("tr", {}, element("th", { scope: "col" }, element("span", { className: "unseen" }, "show the cell")), ...heads));
}

function sortBy(name) {
  order.descending = order.column === name && !order.descending;
  order.column = name;
  drawTable();
  [...document.querySelectorAll("#cells thead button")].find((button) => button.textContent.startsWith(name))?.focus();
}

function sorted(cells, columns) {
  const column = columns.find((each) => each.name === order.column);
  if (!column) return cells;
  const turn = order.descending ? -1 : 1;
  const missing = (value) => value === undefined || value === "";
  const compare = (a, b) => (Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? String(a).localeCompare(String(b)) : a - b);
  return [...cells].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    return missing(a) || missing(b) ? missing(a) - missing(b) : turn * compare(a, b);
  });
}

function tableRow(cell, columns) {
  const button = element("button", { type: "button", "data-cell": cell.id, "aria-label": `show ${settingsText(cell, sweptKeys)}` }, "show");
  button.onclick = () => select(cell.id);
  const className = cell.id === state.cell ? "selected" : "";
  return element("tr", { className }, element("td", {}, button), ...columns.map((column) => element("td", {}, column.text(cell))));
}
