// The sweep's data, what is chosen on the page, and groups of cells. Nothing here touches the document.

const data = JSON.parse(document.getElementById("data").textContent);
const sweptKeys = data.swept.map((each) => each.key);
const compared = data.swept.filter((each) => !each.replicate).map((each) => each.key);
const metricOf = Object.fromEntries(data.metrics.map((metric) => [metric.key, metric]));
const NONE = ""; // no second setting: the map is one row

const state = { rows: NONE, columns: NONE, metric: "", filters: {}, cell: null, pinned: null, across: "", up: "" };

function valuesOf(key) {
  return data.swept.find((each) => each.key === key)?.values ?? [];
}

const placesByKey = Object.fromEntries(data.swept.map((each) => [each.key, each.places])); // rows or columns of the map

function placesOf(key) {
  return key === NONE ? [""] : placesByKey[key].map((place) => place.name);
}

function isAt(cell, key, name) {
  return key === NONE || placesByKey[key].find((place) => place.name === name).values.includes(cell.settings[key]);
}

/** The first metric of a list of names that this sweep has, or else its first. */
function firstMetric(names) {
  return names.find((name) => name in metricOf) ?? data.metrics[0].key;
}

/** The swept settings that are neither on an axis nor repeated: each is held at one value. */
function heldKeys() {
  return compared.filter((key) => key !== state.rows && key !== state.columns);
}

function isHeld(cell) {
  return heldKeys().every((key) => !state.filters[key] || isAt(cell, key, state.filters[key]));
}

/** The cells of one square of the map. */
function cellsAt(row, column) {
  return data.cells.filter((cell) => isHeld(cell) && isAt(cell, state.rows, row) && isAt(cell, state.columns, column));
}

/** Cells by the settings that are compared: the groups that the Pareto plot shows. */
function groupsOfSettings() {
  const groups = new Map();
  for (const cell of data.cells) {
    const name = settingsText(cell, compared);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(cell);
  }
  return [...groups].map(([name, cells]) => ({ name, cells }));
}

function settingsText(cell, keys) {
  return keys.map((key) => `${key}=${cell.settings[key]}`).join(", ") || "all cells";
}

/** A metric of some cells: mean, interval (or null), spread of its runs, and how many runs and scenes it is over. Null without a value. */
function summarise(cells, metric) {
  const byScene = new Map();
  for (const cell of cells) {
    const value = cell.metrics[metric];
    if (value !== undefined) byScene.set(cell.scene, [...(byScene.get(cell.scene) ?? []), value]);
  }
  const values = [...byScene.values()];
  if (!values.length) return null;
  const interval = data.intervals[cells.map((cell) => cell.id).join(",")]?.[metric] ?? null;
  const all = values.flat();
  return { mean: meanOverScenes(values), interval, spread: Math.max(...all) - Math.min(...all), runs: all.length, scenes: values.length };
}

/** The cell that stands for the setting whose mean is best in the chosen figure; null where no cell has it. */
function bestCell() {
  const groups = groupsOfSettings().map((group) => ({ ...group, summary: summarise(group.cells, state.metric) })).filter((group) => group.summary);
  groups.sort((a, b) => sign(state.metric) * (b.summary.mean - a.summary.mean));
  return groups.length ? shownCell(groups[0]) : null;
}

/** The cell that stands for a setting: the first with pictures. */
function shownCell(group) {
  return (group.cells.find((cell) => cell.views) ?? group.cells[0]).id;
}

/** A figure, rounded to its digits, with its unit if asked. */
function show(value, metric, unit = false) {
  if (value === undefined || value === null) return "n/a";
  const text = value.toFixed(metricOf[metric].digits);
  return unit && metricOf[metric].unit ? `${text} ${metricOf[metric].unit}` : text;
}

/** A metric's name with the direction that is better. */
function title(metric) {
  const arrow = { higher: " ↑", lower: " ↓" }[metricOf[metric].better] ?? "";
  return `${metricOf[metric].label}${arrow}`;
}

/** +1 where higher is better, -1 where lower is. */
function sign(metric) {
  return metricOf[metric].better === "lower" ? -1 : 1;
}

/** An element with properties, attributes and children. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && !name.includes("-")) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
