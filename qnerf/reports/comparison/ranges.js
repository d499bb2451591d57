// The ranges that are kept on the parallel axes, dragged along an axis or chosen with keys below the chart. The table follows.

const ranges = {}; // an axis's kept ranges, [[low, high], …], by its key
const MOST_ENDS = 200; // choices of an end
let axisOfKeys = null; // the axis whose range the two choices below the chart set

/** Where a cell lies on an axis: the place of its setting among the swept values, or its figure. Undefined where it has none. */
function placeOn(key, cell) {
  return sweptKeys.includes(key) ? valuesOf(key).indexOf(cell.settings[key]) : cell.metrics[key];
}

/** The cells inside a kept range of every axis. */
function keptCells() {
  const isInside = (key, cell) => ranges[key].some(([low, high]) => placeOn(key, cell) >= low && placeOn(key, cell) <= high);
  return data.cells.filter((cell) => Object.keys(ranges).every((key) => isInside(key, cell)));
}

/** Takes over what was dragged: Plotly has one pair, or several. */
function readRanges(dimensions) {
  for (const { name, constraintrange: found } of dimensions) {
    if (found?.length) ranges[name] = Array.isArray(found[0]) ? found : [found];
    else delete ranges[name];
  }
  fillRange();
}

/** Forgets ranges on axes that are drawn no longer, and offers the others below the chart. */
function keepOnly(keys) {
  for (const key of Object.keys(ranges)) if (!keys.includes(key)) delete ranges[key];
  if (!keys.includes(axisOfKeys)) [axisOfKeys] = keys;
  fill("range-axis", keys.map((key) => [key, key]), axisOfKeys, (key) => { axisOfKeys = key; fillRange(); });
  fillRange();
}

/** The two ends as choices among the places that cells have. */
function fillRange() {
  const key = axisOfKeys;
  const places = thinned([...new Set(data.cells.map((cell) => placeOn(key, cell)).filter((place) => place !== undefined))].sort((a, b) => a - b));
  const options = places.map((place, i) => [String(i), sweptKeys.includes(key) ? valuesOf(key)[place] : show(place, key)]);
  const kept = ranges[key]?.flat() ?? [places[0], places.at(-1)];
  const [low, high] = [places.findIndex((place) => place >= Math.min(...kept)), places.findLastIndex((place) => place <= Math.max(...kept))];
  fill("range-low", options, String(low), (i) => keep(key, places, Number(i), Math.max(Number(i), high)));
  fill("range-high", options, String(high), (i) => keep(key, places, Math.min(low, Number(i)), Number(i)));
  const all = document.getElementById("range-all");
  all.disabled = !Object.keys(ranges).length;
  all.onclick = () => { for (const each of Object.keys(ranges)) delete ranges[each]; drawParallel(); drawTable(); };
}

/** At most `MOST_ENDS` of many places, the first and the last among them. */
function thinned(places) {
  if (places.length <= MOST_ENDS) return places;
  return Array.from({ length: MOST_ENDS }, (_, i) => places[Math.round((i * (places.length - 1)) / (MOST_ENDS - 1))]);
}

function keep(key, places, low, high) {
  if (low === 0 && high === places.length - 1) delete ranges[key];
  else ranges[key] = [[places[low], places[high]]];
  drawParallel();
  drawTable();
}
