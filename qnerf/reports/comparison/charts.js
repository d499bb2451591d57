// The two charts that Plotly draws: the Pareto front, and all settings and figures on parallel axes.

const PLAIN = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
const THEME = getComputedStyle(document.documentElement);
const FONT = { family: "system-ui, sans-serif", size: 12, color: THEME.getPropertyValue("--ink") };
const CLEAR = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", modebar: { bgcolor: "rgba(0,0,0,0)", color: THEME.getPropertyValue("--faint"), activecolor: THEME.getPropertyValue("--ink") } };
const GRID = THEME.getPropertyValue("--line");
const FRONT = "#c8553d", BEATEN = "#1b6ca8";
const MOST_FIGURES = 6; // parallel axes beside the settings; more cannot be read

function drawPareto() {
  const groups = groupsOfSettings()
    .map((group) => ({ ...group, x: summarise(group.cells, state.across), y: summarise(group.cells, state.up) }))
    .filter((group) => group.x && group.y);
  const front = paretoFront(groups.map((group) => [group.x.mean, group.y.mean]), [sign(state.across), sign(state.up)])
    .map((i) => groups[i]).sort((a, b) => a.x.mean - b.x.mean);
  const axis = (metric) => ({ title: { text: `${title(metric)} ${metricOf[metric].unit && `(${metricOf[metric].unit})`}` }, automargin: true, zeroline: false, gridcolor: GRID });
  const layout = { ...CLEAR, font: FONT, margin: { t: 10, r: 10 }, hovermode: "closest", xaxis: axis(state.across), yaxis: axis(state.up), legend: { orientation: "h", y: 1.12, itemsizing: "constant" } };
  const line = { x: front.map((g) => g.x.mean), y: front.map((g) => g.y.mean), mode: "lines", showlegend: false, line: { color: FRONT, width: 2 }, hoverinfo: "skip" };
  const beaten = groups.filter((group) => !front.includes(group));
  const chart = document.getElementById("pareto");
  Plotly.react(chart, [line, pointsOf(front, "on the front", FRONT), pointsOf(beaten, "not on the front", BEATEN), ...referenceTraces()], layout, PLAIN);
  chart.removeAllListeners("plotly_click");
  chart.on("plotly_click", ({ points }) => { if (points[0].customdata !== undefined) select(points[0].customdata); });
  document.getElementById("front").replaceChildren(...front.map(frontLine));
}

/** A point of the front in words, as a button: what a click on the chart does, keys do here. */
function frontLine(group) {
  const figures = `${show(group.x.mean, state.across, true)}, ${show(group.y.mean, state.up, true)}`;
  const button = element("button", { type: "button", "data-cell": shownCell(group) }, group.name);
  button.onclick = () => { select(shownCell(group)); document.querySelector(`#front [data-cell="${shownCell(group)}"]`).focus(); };
  return element("li", {}, button, ` ${figures}`);
}

function pointsOf(groups, name, color) {
  const bars = (axis) => ({
    type: "data", symmetric: false, color: "#b9c2cc", thickness: 1, width: 0,
    array: groups.map((group) => (group[axis].interval ? group[axis].interval[1] - group[axis].mean : 0)),
    arrayminus: groups.map((group) => (group[axis].interval ? group[axis].mean - group[axis].interval[0] : 0)),
  });
  const chosen = (group) => group.cells.some((cell) => cell.id === state.cell);
  return {
    x: groups.map((group) => group.x.mean), y: groups.map((group) => group.y.mean), mode: "markers", name,
    error_x: bars("x"), error_y: bars("y"), text: groups.map((group) => group.name), hovertemplate: "%{text}<br>%{x:.4f}, %{y:.4f}<extra></extra>",
    customdata: groups.map(shownCell),
    marker: { color, size: groups.map((group) => (chosen(group) ? 15 : 9)), line: { color: "#111", width: groups.map((group) => (chosen(group) ? 2 : 0)) } },
  };
}

/** The independent edit where the runs computed it, and what the true views reach: what all points are read against. */
function referenceTraces() {
  const point = (x, y, name, symbol) => {
    const at = [summarise(data.cells, x), summarise(data.cells, y)];
    if (!at[0] || !at[1]) return [];
    return [{ x: [at[0].mean], y: [at[1].mean], mode: "markers", name, marker: { symbol, size: 12, color: "#3a7d44" } }];
  };
  return ["independent", "oracle"].flatMap((method, i) =>
    point(`methods.${method}.${state.across}`, `methods.${method}.${state.up}`, method, ["star", "diamond"][i]));
}

function drawParallel() {
  const cells = data.cells.filter((cell) => cell.metrics[state.metric] !== undefined);
  const dimensions = [...data.swept.map((each) => settingAxis(each, cells)), ...shownFigures(cells).map((key) => figureAxis(key, cells))];
  keepOnly(dimensions.map((dimension) => dimension.name));
  const line = { color: cells.map((cell) => sign(state.metric) * cell.metrics[state.metric]), colorscale: "Viridis" };
  const layout = { ...CLEAR, font: FONT, margin: { t: 80, b: 30, l: 90, r: 60 } };
  const rangefont = { color: "rgba(0,0,0,0)" }; // an axis has its ticks: its ends again would lie on them
  const chart = document.getElementById("parallel");
  try {
    Plotly.react(chart, [{ type: "parcoords", line, dimensions, labelangle: -8, rangefont }], layout, PLAIN);
  } catch (error) {
    chart.textContent = `This browser cannot draw parallel axes (${error.message}). The table below has the same figures.`;
    return;
  }
  chart.removeAllListeners?.("plotly_restyle");
  chart.on?.("plotly_restyle", () => { readRanges(chart.data[0].dimensions); drawTable(); });
}

/** The figures on parallel axes: the chosen one, and those with a direction that differ between cells. */
function shownFigures(cells) {
  const differs = (key) => new Set(cells.map((cell) => cell.metrics[key])).size > 1;
  const figures = data.metrics.map((metric) => metric.key).filter((key) => !key.includes(".") && metricOf[key].better && differs(key));
  return [...new Set([state.metric, ...figures])].slice(0, MOST_FIGURES);
}

function settingAxis({ key, values }, cells) {
  const ticks = values.map((_, i) => i);
  const range = [0, Math.max(1, values.length - 1)];
  return { ...axisOf(key, key, cells), tickvals: ticks, ticktext: values.map((value) => shorten(value, 14)), range };
}

function figureAxis(key, cells) {
  return axisOf(key, `${key} ${sign(key) < 0 ? "↓" : "↑"}`, cells);
}

function axisOf(key, label, cells) {
  return { name: key, label, values: cells.map((cell) => placeOn(key, cell) ?? NaN), constraintrange: ranges[key] };
}

/** The end of a long text, where texts differ; of a path its last part. */
function shorten(text, most) {
  const end = text.split("/").at(-1) || text;
  return end.length > most ? `…${end.slice(1 - most)}` : end;
}
