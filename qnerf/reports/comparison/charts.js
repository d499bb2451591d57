// The two charts that Plotly draws: the Pareto front, and all settings and figures on parallel axes.

const PLAIN = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
const FONT = { family: "system-ui, sans-serif", size: 12 };
const MOST_FIGURES = 6; // parallel axes beside the settings; more cannot be read

function drawPareto() {
  const groups = groupsOfSettings()
    .map((group) => ({ ...group, x: summarise(group.cells, state.across), y: summarise(group.cells, state.up) }))
    .filter((group) => group.x && group.y);
  const front = paretoFront(groups.map((group) => [group.x.mean, group.y.mean]), [sign(state.across), sign(state.up)])
    .map((i) => groups[i]).sort((a, b) => a.x.mean - b.x.mean);
  const axis = (metric) => ({ title: { text: `${title(metric)} ${metricOf[metric].unit && `(${metricOf[metric].unit})`}` }, automargin: true, zeroline: false });
  const layout = { font: FONT, margin: { t: 10, r: 10 }, hovermode: "closest", xaxis: axis(state.across), yaxis: axis(state.up), legend: { orientation: "h", y: 1.12 } };
  const line = { x: front.map((g) => g.x.mean), y: front.map((g) => g.y.mean), mode: "lines", name: "front", line: { color: "#c8553d", width: 2 }, hoverinfo: "skip" };
  const chart = document.getElementById("pareto");
  Plotly.react(chart, [line, pointsOf(groups, front), ...referenceTraces()], layout, PLAIN);
  chart.removeAllListeners("plotly_click");
  chart.on("plotly_click", ({ points }) => { if (points[0].customdata !== undefined) select(points[0].customdata); });
  document.getElementById("front").replaceChildren(...front.map((group) =>
    element("li", {}, `${group.name}: ${show(group.x.mean, state.across, true)}, ${show(group.y.mean, state.up, true)}`)));
}

function pointsOf(groups, front) {
  const bars = (axis) => ({
    type: "data", symmetric: false, color: "#b9c2cc", thickness: 1, width: 0,
    array: groups.map((group) => (group[axis].interval ? group[axis].interval[1] - group[axis].mean : 0)),
    arrayminus: groups.map((group) => (group[axis].interval ? group[axis].mean - group[axis].interval[0] : 0)),
  });
  const chosen = (group) => group.cells.some((cell) => cell.id === state.cell);
  return {
    x: groups.map((group) => group.x.mean), y: groups.map((group) => group.y.mean), mode: "markers", name: "settings",
    error_x: bars("x"), error_y: bars("y"), text: groups.map((group) => group.name), hovertemplate: "%{text}<br>%{x:.4f}, %{y:.4f}<extra></extra>",
    customdata: groups.map((group) => (group.cells.find((cell) => cell.views) ?? group.cells[0]).id),
    marker: {
      size: groups.map((group) => (chosen(group) ? 15 : 9)),
      color: groups.map((group) => (front.includes(group) ? "#c8553d" : "#1b6ca8")),
      line: { color: "#111", width: groups.map((group) => (chosen(group) ? 2 : 0)) },
    },
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
  const figures = data.metrics.map((metric) => metric.key).filter((key) => !key.includes(".") && metricOf[key].better);
  const chosen = [...new Set([state.metric, ...figures])].slice(0, MOST_FIGURES).filter((key) => cells.some((cell) => key in cell.metrics));
  const dimensions = [...data.swept.map((each) => settingAxis(each, cells)), ...chosen.map((key) => figureAxis(key, cells))];
  const line = { color: cells.map((cell) => sign(state.metric) * cell.metrics[state.metric]), colorscale: "Viridis" };
  const layout = { font: FONT, margin: { t: 60, b: 30, l: 90, r: 60 } };
  const chart = document.getElementById("parallel");
  try {
    Plotly.react(chart, [{ type: "parcoords", line, dimensions, labelangle: -8 }], layout, PLAIN);
  } catch (error) {
    chart.textContent = `This browser draws no parallel axes (${error.message}); the table below has the same figures.`;
    return;
  }
  chart.removeAllListeners?.("plotly_restyle");
  chart.on?.("plotly_restyle", () => drawTable(withinBrushes(chart.data[0].dimensions, cells)));
}

function settingAxis({ key, values }, cells) {
  const ticks = values.map((_, i) => i);
  const places = cells.map((cell) => values.indexOf(cell.settings[key]));
  return { label: key, tickvals: ticks, ticktext: values.map((value) => shorten(value, 14)), range: [0, Math.max(1, values.length - 1)], values: places };
}

function figureAxis(key, cells) {
  const values = cells.map((cell) => cell.metrics[key] ?? NaN);
  return { label: `${key} ${sign(key) < 0 ? "↓" : "↑"}`, values };
}

/** The end of a long text, where paths differ. */
function shorten(text, most) {
  return text.length > most ? `…${text.slice(1 - most)}` : text;
}

/** The cells inside every range that is dragged along an axis. */
function withinBrushes(dimensions, cells) {
  const inside = (dimension, i) => {
    const ranges = dimension.constraintrange ?? [];
    const list = Array.isArray(ranges[0]) ? ranges : ranges.length ? [ranges] : [];
    return !list.length || list.some(([low, high]) => dimension.values[i] >= low && dimension.values[i] <= high);
  };
  return cells.filter((_, i) => dimensions.every((dimension) => inside(dimension, i)));
}
