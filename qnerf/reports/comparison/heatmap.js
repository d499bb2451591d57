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
  const scale = colourRange(squares.flat().filter((square) => square.summary).map((square) => square.summary));
  focused = [Math.min(focused[0], rows.length - 1), Math.min(focused[1], columns.length - 1)];
  const body = squares.map((line, r) => element("tr", { role: "row" },
    element("th", { scope: "row" }, rows[r]),
    ...line.map((square, c) => element("td", { role: "gridcell" }, squareButton(square, r, c, scale)))));
  const map = document.getElementById("heatmap");
  map.className = columns.length > MOST_WITH_INTERVALS ? "wide" : "";
  map.replaceChildren(mapHead(columns), element("tbody", {}, ...body));
  drawScale(scale);
  document.getElementById("explanation").textContent = `${title(state.metric)}: ${metricOf[state.metric].explanation}`;
}

/** The range of the colours: that of the means, but no narrower than what a mean may be off by, so that noise looks like noise. */
function colourRange(summaries) {
  if (!summaries.length) return null;
  const means = summaries.map((summary) => summary.mean);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const widths = summaries.filter((summary) => summary.interval).map((summary) => summary.interval[1] - summary.interval[0]);
  const spreads = summaries.filter((summary) => summary.runs > 1).map((summary) => summary.spread);
  const noise = widths.length ? mean(widths) : spreads.length ? mean(spreads) : 0;
  const more = Math.max(0, noise - (high - low)) / 2;
  return { low: low - more, high: high + more, isWidened: more > 0 };
}

/** The colours' bar, from the lowest figure to the highest. */
function drawScale(scale) {
  const place = document.getElementById("scale");
  if (!scale || scale.low === scale.high) return place.replaceChildren();
  const stops = COLOURS.map((_, i) => viridis(sign(state.metric) < 0 ? 1 - i / (COLOURS.length - 1) : i / (COLOURS.length - 1)));
  const bar = element("i", { style: `background:linear-gradient(to right,${stops.map((stop) => `rgb(${stop.join(",")})`).join(",")})` });
  const note = scale.isWidened ? " The squares differ by less than the runs within one do: the colours' range is that of the runs." : "";
  return place.replaceChildren(show(scale.low, state.metric, true), bar, show(scale.high, state.metric, true), note);
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
