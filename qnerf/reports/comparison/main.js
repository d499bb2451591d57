// Fills the choices, and draws again what a choice changes.

function fill(id, options, chosen, act) {
  const choice = document.getElementById(id);
  choice.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  choice.value = chosen;
  choice.onchange = () => act(choice.value);
}

function fillControls() {
  const keys = sweptKeys.map((key) => [key, key]);
  const metrics = data.metrics.map((metric) => [metric.key, title(metric.key)]);
  fill("rows", [[NONE, "none"], ...keys], state.rows, (value) => chooseAxis("rows", "columns", value));
  fill("columns", [[NONE, "none"], ...keys], state.columns, (value) => chooseAxis("columns", "rows", value));
  fill("metric", metrics, state.metric, (value) => { state.metric = value; drawHeatmap(); drawParallel(); drawTable(); });
  fill("pareto-x", metrics, state.across, (value) => { state.across = value; drawPareto(); drawTable(); });
  fill("pareto-y", metrics, state.up, (value) => { state.up = value; drawPareto(); drawTable(); });
  fillFilters();
}

/** Sets an axis; the other axis gives way where it shows the same setting. */
function chooseAxis(axis, other, key) {
  if (key !== NONE && state[other] === key) {
    state[other] = state[axis];
    document.getElementById(other).value = state[other];
  }
  state[axis] = key;
  fillFilters();
  drawHeatmap();
}

/** A choice for every other setting, which is held at one value unless all are averaged. */
function fillFilters() {
  const labels = heldKeys().map((key) => {
    if (!(key in state.filters)) state.filters[key] = data.isGrid ? valuesOf(key)[0] : ""; // held values of a search leave next to nothing
    const options = [["", "all (mean)"], ...placesOf(key).map((value) => [value, value])].map(([value, text]) => element("option", { value }, text));
    const choice = element("select", { "data-filter": key }, ...options);
    choice.value = state.filters[key];
    choice.onchange = () => { state.filters[key] = choice.value; drawHeatmap(); };
    return element("label", {}, `${key} `, choice);
  });
  document.getElementById("filters").replaceChildren(...labels);
}

/** Shows one cell everywhere: on the map, in the viewer, among the points and in the table. */
function select(id) {
  const place = document.activeElement?.dataset?.place;
  state.cell = id;
  drawHeatmap();
  drawViewer();
  drawPareto();
  markRow();
  if (place) document.querySelector(`#heatmap [data-place="${place}"]`)?.focus();
}

function summariseSweep() {
  const done = data.cells.filter((cell) => Object.keys(cell.metrics).some((key) => key !== "seconds")).length;
  const scenes = new Set(data.cells.map((cell) => cell.scene)).size;
  const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const seeds = new Set(data.cells.map((cell) => cell.seed)).size;
  const parts = [`${counted(data.cells.length, "cell")}, ${done} with figures`, counted(scenes, "scene"), counted(seeds, "seed")];
  document.getElementById("summary").textContent = `${parts.join(", ")}. Swept: ${sweptKeys.join(", ") || "nothing"}.`;
  document.getElementById("sweep-command").textContent = data.command;
}

function start() {
  const axes = compared.length ? compared : sweptKeys;
  state.columns = axes[0] ?? NONE;
  state.rows = axes[1] ?? sweptKeys.find((key) => key !== axes[0]) ?? NONE;
  state.metric = firstMetric(data.first.map);
  state.across = firstMetric(data.first.across);
  state.up = firstMetric(data.first.up);
  state.cell = bestCell();
  for (const form of document.forms) form.onsubmit = (event) => event.preventDefault();
  document.getElementById("download").onclick = downloadTable;
  summariseSweep();
  fillControls();
  drawHeatmap();
  drawViewer();
  drawPareto();
  drawParallel();
  drawTable();
}

start();
