// One cell: its views before and after under a slider, the orbit, its figures, and the command that makes it again.

const ORBIT_MILLISECONDS = 250; // a view of the orbit, as in a run's orbit.mp4
const view = { index: 0, split: 50, against: "before", timer: null };

function drawViewer() {
  const cell = data.cells[state.cell];
  const parts = cell
    ? [settingsList(cell), sameSettings(cell), pinButton(cell), ...pictures(cell), commandOf(cell), figuresOf(cell)]
    : [element("p", {}, "Choose a square of the map, a point of the chart, or a row of the table.")];
  document.getElementById("viewer").replaceChildren(...parts);
  if (cell?.views) drawStage(cell);
  else stopOrbit();
}

function settingsList(cell) {
  const failed = cell.views ? "" : ` · ${cell.status}${cell.reason ? `: ${cell.reason}` : ""}`;
  const line = element("p", { id: "cell-name" }, settingsText(cell, sweptKeys));
  line.append(element("span", { className: "failed" }, failed));
  return line;
}

/** A choice among the runs that differ from this one in scene and seed alone. */
function sameSettings(cell) {
  const same = data.cells.filter((other) => compared.every((key) => other.settings[key] === cell.settings[key]));
  const options = same.map((other) => element("option", { value: other.id, selected: other.id === cell.id },
    `${other.scene}, seed ${other.seed}${other.views ? "" : ` (${other.status})`}`));
  const choice = element("select", { id: "replicate" }, ...options);
  choice.onchange = () => { select(Number(choice.value)); document.getElementById("replicate").focus(); };
  return element("label", {}, "scene and seed ", choice);
}

function pictures(cell) {
  if (!cell.views) return [element("p", { className: "small" }, "No pictures of this cell were found.")];
  const scene = data.scenes[cell.views.scene];
  const last = cell.views.names.length - 1;
  view.index = Math.min(view.index, last);
  if (!leftStrip(cell)) view.against = "before";
  const slider = range("split", "before", 0, 100, view.split, (value) => { view.split = value; drawStage(cell); });
  const turn = range("turn", "view", 0, last, view.index, (value) => { view.index = value; drawStage(cell); });
  const play = element("button", { type: "button", id: "orbit" }, view.timer ? "Stop" : "Orbit");
  play.onclick = () => toggleOrbit();
  const against = againstChoice(cell, scene);
  const rows = scene ? [...slider, against, ...turn, play] : [...turn, play];
  const stage = element("div", { className: "stage", id: "stage", style: `aspect-ratio:${cell.views.proportions}` });
  return [stage, element("div", { className: "sliders" }, ...rows)];
}

function range(id, label, min, max, value, act) {
  const input = element("input", { id, type: "range", min, max, value });
  input.value = value;
  input.oninput = () => act(Number(input.value));
  return [element("label", { for: id }, label), input];
}

/** The pinned cell, where it is another with as many views of the same scene. */
function pinnedBeside(cell) {
  const pinned = state.pinned === null || state.pinned === cell.id ? null : data.cells[state.pinned];
  return pinned?.views && cell.views && pinned.views.scene === cell.views.scene ? pinned : null;
}

/** The views that the edit is laid over. */
function leftStrip(cell) {
  if (view.against === "pinned") return pinnedBeside(cell)?.views.after;
  return data.scenes[cell.views.scene]?.[view.against];
}

/** Keeps a cell beside those that are chosen next. */
function pinButton(cell) {
  const isPinned = state.pinned === cell.id;
  const button = element("button", { type: "button", id: "pin", "aria-pressed": String(isPinned) }, isPinned ? "Unpin" : "Pin, to compare with others");
  button.onclick = () => { state.pinned = isPinned ? null : cell.id; drawViewer(); document.getElementById("pin").focus(); };
  const pinned = state.pinned !== null && !isPinned ? ` pinned: ${settingsText(data.cells[state.pinned], sweptKeys)}` : "";
  return element("p", { className: "small" }, button, pinned);
}

/** What the edit is laid over: the source views, the true edited ones where they are known, or the pinned cell's. */
function againstChoice(cell, scene) {
  const names = { before: "source", truth: "true edit", pinned: "pinned cell" };
  const options = Object.keys(names).filter((key) => (key === "pinned" ? pinnedBeside(cell) : scene?.[key])).map((key) =>
    element("option", { value: key, selected: key === view.against }, names[key]));
  const choice = element("select", { id: "against", "aria-label": "left picture" }, ...options);
  choice.onchange = () => { view.against = choice.value; drawStage(cell); };
  return choice;
}

function drawStage(cell) {
  const scene = data.scenes[cell.views.scene];
  const count = cell.views.names.length;
  const layer = (strip) => {
    const place = count > 1 ? (100 * view.index) / (count - 1) : 0;
    const style = `background-image:url("${strip}");background-size:${100 * count}% 100%;background-position:${place}% 0`;
    return element("div", { style });
  };
  const after = layer(cell.views.after);
  const left = scene ? view.split : 0;
  after.style.clipPath = `inset(0 0 0 ${left}%)`;
  const parts = scene ? [layer(leftStrip(cell)), after, element("div", { className: "edge", style: `left:${left}%` })] : [after];
  const names = [{ before: "source", truth: "true edit", pinned: "pinned" }[view.against], `edited, view ${cell.views.names[view.index]}`];
  if (scene) parts.push(element("span", { style: "left:.3rem" }, names[0]));
  parts.push(element("span", { style: "right:.3rem", id: "view-name" }, names[1]));
  document.getElementById("stage").replaceChildren(...parts);
}

function toggleOrbit() {
  if (view.timer) return stopOrbit();
  view.timer = setInterval(() => {
    const cell = data.cells[state.cell];
    view.index = (view.index + 1) % cell.views.names.length;
    document.getElementById("turn").value = view.index;
    drawStage(cell);
  }, ORBIT_MILLISECONDS);
  document.getElementById("orbit").textContent = "Stop";
  return undefined;
}

function stopOrbit() {
  clearInterval(view.timer);
  view.timer = null;
  const play = document.getElementById("orbit");
  if (play) play.textContent = "Orbit";
}

function commandOf(cell) {
  const copy = element("button", { type: "button", id: "copy" }, "Copy");
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(cell.command);
      copy.textContent = "Copied";
    } catch { // a page from disk may not be allowed to: then the text is marked for the user's own copying
      getSelection().selectAllChildren(document.getElementById("command"));
      copy.textContent = "Selected: press Ctrl+C";
    }
  };
  const folder = element("p", { className: "small" }, `identity ${cell.identity}`);
  return element("div", {}, element("pre", { id: "command" }, cell.command), copy, folder);
}

function figuresOf(cell) {
  const known = data.metrics.filter((metric) => metric.key in cell.metrics);
  const rows = known.map((metric) => element("tr", { title: metric.explanation, "data-metric": metric.key },
    element("td", {}, title(metric.key)), ...figureCells(metric.key, cell)));
  const head = otherPinned(cell) ? [element("thead", {}, element("tr", {}, ...["figure", "this cell", "pinned"].map((text) => element("th", { scope: "col" }, text))))] : [];
  return element("table", { id: "figures" }, ...head, element("tbody", {}, ...rows));
}

function otherPinned(cell) {
  return state.pinned !== null && state.pinned !== cell.id ? data.cells[state.pinned] : null;
}

/** The cell's figure, and the pinned one's. */
function figureCells(key, cell) {
  const pinned = otherPinned(cell);
  return [cell, ...(pinned ? [pinned] : [])].map((each) => element("td", {}, show(each.metrics[key], key, true)));
}
