// The map over two settings: a table of buttons rather than a canvas, so that keys and screen readers reach every cell.

// Viridis (van der Walt & Smith 2015) at five places: even in lightness, legible without colour vision.
const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const MOST_WITH_INTERVALS = 7; // columns; a wider map has the intervals in the line below it alone

let focused = [0, 0]; // row and column of the button that Tab leads to

function drawHeatmap() {
  const [rows, columns] = [placesOf(state.rows), placesOf(state.columns)];
  const squares = rows.map((row) => columns.map((column) => {
    const cells = cellsAt(row, column);
    return { row, column, cells, summary: summarise(cells, state.metric) };
  }));
  const means = squares.flat().filter((square) => square.summary).map((square) => square.summary.mean);
  const scale = { low: Math.min(...means), high: Math.max(...means) };
  focused = [Math.min(focused[0], rows.length - 1), Math.min(focused[1], columns.length - 1)];
  const body = squares.map((line, r) => element("tr", { role: "row" },
    element("th", { scope: "row" }, rows[r]),
    ...line.map((square, c) => element("td", { role: "gridcell" }, squareButton(square, r, c, scale)))));
  const map = document.getElementById("heatmap");
  map.className = columns.length > MOST_WITH_INTERVALS ? "wide" : "";
  map.replaceChildren(mapHead(columns), element("tbody", {}, ...body));
  document.getElementById("explanation").textContent = `${title(state.metric)}: ${metricOf[state.metric].explanation}`;
}

function mapHead(columns) {
  const names = [[state.columns, "→"], [state.rows, "↓"]].filter(([key]) => key).map((pair) => element("div", {}, pair.join(" ")));
  const axis = element("th", { className: "axis" }, ...names);
  return element("thead", {}, element("tr", { role: "row" }, axis, ...columns.map((value) => element("th", { scope: "col" }, value))));
}

function squareButton(square, r, c, scale) {
  const { cells, summary } = square;
  const chosen = cells.some((cell) => cell.id === state.cell);
  const tabIndex = r === focused[0] && c === focused[1] ? 0 : -1;
  const button = element("button", { type: "button", tabIndex, "aria-pressed": String(chosen), "data-place": `${r},${c}` });
  button.setAttribute("aria-label", describeSquare(square));
  button.title = describeSquare(square);
  button.append(summary ? show(summary.mean, state.metric) : withoutFigure(cells));
  if (summary?.interval) button.append(element("small", {}, summary.interval.map((end) => show(end, state.metric)).join("…")));
  if (summary) paint(button, summary.mean, scale);
  else button.className = "none";
  button.onclick = () => {
    focused = [r, c];
    if (cells.length) select((cells.find((cell) => cell.views) ?? cells[0]).id);
  };
  button.onfocus = button.onmouseenter = () => { document.getElementById("square").textContent = describeSquare(square); };
  button.onkeydown = (event) => moveFocus(event, r, c);
  return button;
}

/** What a square without the figure says: not run, failed, or finished without it. */
function withoutFigure(cells) {
  if (!cells.length) return "—";
  return cells.some((cell) => Object.keys(cell.metrics).length) ? "n/a" : cells[0].status;
}

function describeSquare({ row, column, cells, summary }) {
  const place = [[state.rows, row], [state.columns, column]].filter(([key]) => key).map((pair) => pair.join("=")).join(", ");
  if (!summary) return `${place}: ${metricOf[state.metric].label} ${withoutFigure(cells)}`;
  const range = summary.interval ? `, 95 % interval ${summary.interval.map((end) => show(end, state.metric)).join(" to ")}` : "";
  const runs = `${summary.runs} run${summary.runs > 1 ? "s" : ""}, ${summary.scenes} scene${summary.scenes > 1 ? "s" : ""}`;
  return `${place}: ${metricOf[state.metric].label} ${show(summary.mean, state.metric, true)}${range} (${runs})`;
}

/** Bright is better; a figure without a direction is brighter the higher. */
function paint(button, value, { low, high }) {
  const share = high > low ? (value - low) / (high - low) : 0.5;
  const colour = viridis(sign(state.metric) < 0 ? 1 - share : share);
  button.style.background = `rgb(${colour.join(",")})`;
  const light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2];
  button.style.color = light > 130 ? "#111" : "#fff";
}

function viridis(share) {
  const place = share * (COLOURS.length - 1);
  const low = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[low].map((from, i) => Math.round(from + (place - low) * (COLOURS[low + 1][i] - from)));
}

function moveFocus(event, r, c) {
  const step = ARROWS[event.key];
  if (!step) return;
  event.preventDefault();
  const next = document.querySelector(`#heatmap [data-place="${r + step[0]},${c + step[1]}"]`);
  if (!next) return;
  document.querySelector(`#heatmap [data-place="${r},${c}"]`).tabIndex = -1;
  focused = [r + step[0], c + step[1]];
  next.tabIndex = 0;
  next.focus();
}
