// Positions are in the scene's coordinates; what is saved is in the world's (data.offset, data.scale).
let state = { joints: [], bones: [], box: null, kept: null }, chosen = 0, joining = null, past = [], held = null, fine = null;
const by = id => document.getElementById(id);
const canvases = [], FINER = 4; // a click that is held moves by so much less than the mouse, and its surroundings are shown so much larger

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const minus = (a, b) => a.map((v, i) => v - b[i]);
const plus = (a, b) => a.map((v, i) => v + b[i]);
const times = (a, s) => a.map(v => v * s);
const length = a => Math.hypot(...a);

// A view's camera: rows of the rotation from the world to OpenCV's axes, its position, focal lengths
// and principal point.
function local(view, point) { const d = minus(point, view.place); return view.rows.map(row => dot(row, d)); }
function project(view, point) {
  const p = local(view, point);
  return p[2] > 0 ? [p[0] / p[2] * view.focal[0] + view.centre[0], p[1] / p[2] * view.focal[1] + view.centre[1]] : null;
}
function ray(view, pixel) {
  const p = [(pixel[0] - view.centre[0]) / view.focal[0], (pixel[1] - view.centre[1]) / view.focal[1], 1];
  return [0, 1, 2].map(i => view.rows[0][i] * p[0] + view.rows[1][i] * p[1] + view.rows[2][i] * p[2]);
}

function solve(m, v) { // three equations, by Cramer's rule; null where they are singular
  const det = a => a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
    + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
  const d = det(m);
  if (Math.abs(d) < 1e-14) return null;
  return [0, 1, 2].map(k => det(m.map((row, i) => row.map((value, j) => j === k ? v[i] : value))) / d);
}
function normal(rows) { // least squares: rows of [a, b] with a · x = b
  const m = [[0, 0, 0], [0, 0, 0], [0, 0, 0]], v = [0, 0, 0];
  for (const [a, b] of rows) for (let i = 0; i < 3; i++) { v[i] += a[i] * b; for (let j = 0; j < 3; j++) m[i][j] += a[i] * a[j]; }
  return solve(m, v);
}
function triangulate(clicks) { // the point of the least reprojection error: linear (each click gives two planes), then Gauss-Newton
  const seen = Object.entries(clicks).map(([index, pixel]) => [data.views[index], pixel]);
  if (seen.length < 2) return null;
  const rows = [];
  for (const [view, pixel] of seen) for (const axis of [0, 1]) {
    const flat = (pixel[axis] - view.centre[axis]) / view.focal[axis];
    const plane = minus(view.rows[axis], times(view.rows[2], flat)), size = length(plane);
    rows.push([times(plane, 1 / size), dot(plane, view.place) / size]);
  }
  let point = normal(rows);
  for (let step = 0; point && step < 10; step++) {
    const slopes = [];
    for (const [view, pixel] of seen) {
      const p = local(view, point);
      if (p[2] <= 0) return point;
      for (const axis of [0, 1]) {
        const slope = times(minus(view.rows[axis], times(view.rows[2], p[axis] / p[2])), view.focal[axis] / p[2]);
        slopes.push([slope, pixel[axis] - (p[axis] / p[2] * view.focal[axis] + view.centre[axis])]);
      }
    }
    const move = normal(slopes);
    if (!move) break;
    point = plus(point, move);
  }
  return point;
}
function lineOf(view, from, pixel) { // where a view sees what another sees at a pixel: from near to far along the line of sight, or null
  const along = ray(from, pixel), steps = Array.from({ length: 60 }, (_, step) => 0.02 * 1.16 ** step);
  const unit = length(minus(from.place, data.focus)) || 1;
  const seen = steps.map(step => project(view, plus(from.place, times(along, step * unit)))).filter(Boolean);
  return seen.length > 1 ? [seen[0], seen[seen.length - 1]] : null;
}
function between(clicks, point) { // degrees between the two clicked views that see a point from sides farthest apart
  const away = Object.keys(clicks).map(index => minus(point, data.views[index].place)).map(a => times(a, 1 / length(a)));
  return Math.acos(Math.max(-1, Math.min(...away.flatMap(a => away.map(b => dot(a, b)))))) * 180 / Math.PI;
}
function misses(joint) { // pixels, by view that was clicked
  if (!joint.source) return "";
  return Object.entries(joint.clicks).map(([index, pixel]) => {
    const found = project(data.views[index], joint.source);
    return `${data.views[index].name}: ${found ? Math.hypot(found[0] - pixel[0], found[1] - pixel[1]).toFixed(1) : "behind"}`;
  }).join(", ");
}

function remember() { past.push(JSON.stringify(state)); if (past.length > 200) past.shift(); }
const at = joint => by("target").checked ? joint.target || joint.source : joint.source;
function parents() { // of every joint, along the bones from the first joint of each piece on
  const parent = state.joints.map(() => -1), done = new Set();
  for (let root = 0; root < parent.length; root++) {
    const waiting = done.has(root) ? [] : [root];
    done.add(root);
    while (waiting.length) {
      const joint = waiting.shift();
      for (const [a, b] of state.bones) for (const [from, to] of [[a, b], [b, a]])
        if (from === joint && !done.has(to)) { done.add(to); parent[to] = joint; waiting.push(to); }
    }
  }
  return parent;
}
function onSphere(sight, centre, radius, near) { // where a line of sight meets a sphere, on the side of `near`; else its point nearest to the line
  const square = dot(sight.along, sight.along), middle = dot(sight.along, minus(centre, sight.place)) / square;
  const away = minus(plus(sight.place, times(sight.along, middle)), centre), left = radius ** 2 - dot(away, away);
  if (left <= 0) return plus(centre, times(away, radius / length(away)));
  const ends = [-1, 1].map(side => plus(sight.place, times(sight.along, middle + side * Math.sqrt(left / square))));
  return ends.sort((a, b) => length(minus(a, near)) - length(minus(b, near)))[0];
}
function move(index, sight) { // along the line of sight of a view; with bone lengths kept, what hangs on the joint goes along
  const parent = parents(), joint = state.joints[index];
  const old = joint.target || joint.source, holder = by("lengths").checked ? state.joints[parent[index]] : null;
  const point = holder && holder.source // else in the plane through the joint that is parallel to the image
    ? onSphere(sight, holder.target || holder.source, length(minus(joint.source, holder.source)), old)
    : plus(sight.place, times(sight.along, sight.depth));
  const shift = minus(point, old);
  for (let i = 0; i < parent.length; i++) {
    let up = i;
    while (up >= 0 && up !== index) up = parent[up];
    if (i !== index && (up !== index || !by("lengths").checked || !state.joints[i].source)) continue;
    state.joints[i].target = plus(state.joints[i].target || state.joints[i].source, shift);
  }
}

function file() {
  const kept = state.joints.map((joint, index) => [joint, index]).filter(([joint]) => joint.source);
  const place = new Map(kept.map(([, index], order) => [index, order]));
  const world = point => point.map((value, axis) => value * data.scale + data.offset[axis]);
  const corners = box => box && cornersOf(box).map(world);
  if (state.box)
    return { kind: "box", source: corners(state.box.source), target: corners(state.box.target || state.box.source), ...boundsKept() };
  const still = kept.map(([joint]) => joint.name).filter(name => state.kept && state.kept.keeps.includes(name));
  return {
    kind: "skeleton", joints: kept.map(([joint]) => joint.name),
    bones: state.bones.filter(bone => bone.every(end => place.has(end))).map(bone => bone.map(end => place.get(end))),
    source: kept.map(([joint]) => world(joint.source)), target: kept.map(([joint]) => world(joint.target || joint.source)),
    ...(still.length ? { keeps_direction: still } : {}), ...boundsKept(),
  };
}
const places = () => JSON.stringify([state.joints.map(joint => [joint.source, joint.target]), state.box && [state.box.source, state.box.target]]);
function boundsKept() { // of an opened file: they belong to the positions that it had
  return state.kept && state.kept.places === places() ? state.kept.bounds : {};
}
function load(proxy) {
  const inward = point => point.map((value, axis) => (value - data.offset[axis]) / data.scale);
  const box = value => boxOf(cornersOf(readBox(value)).map(inward));
  state = proxy.kind === "box" ? { joints: [], bones: [], box: { ...newBox(), source: box(proxy.source), target: box(proxy.target) } } : {
    box: null, joints: proxy.joints.map((name, i) => ({ name, clicks: {}, source: inward(proxy.source[i]), target: inward(proxy.target[i]) })),
    bones: proxy.bones,
  };
  const bounds = proxy.source_bounds ? { source_bounds: proxy.source_bounds, target_bounds: proxy.target_bounds } : {};
  state.kept = { keeps: proxy.keeps_direction || [], bounds, places: places() };
  chosen = 0;
}

function drawHelp(context, index) { // of the chosen joint: its name, and before it is found the line of sight of its one click
  const joint = state.joints[chosen], spot = joint && at(joint) && project(data.views[index], at(joint));
  const clicks = Object.entries((state.box || joint || { clicks: {} }).clicks);
  const line = clicks.length === 1 && +clicks[0][0] !== index && !(state.box || joint).source && lineOf(data.views[index], data.views[clicks[0][0]], clicks[0][1]);
  if (line) {
    context.strokeStyle = "#ffd400"; context.lineWidth = 1.5; context.setLineDash([6, 4]);
    context.beginPath(); context.moveTo(...line[0]); context.lineTo(...line[1]); context.stroke(); context.setLineDash([]);
  }
  if (!spot || spot[0] < 0 || spot[0] > context.canvas.width) return;
  context.font = "13px system-ui, sans-serif"; context.lineWidth = 3; context.strokeStyle = "#000"; context.fillStyle = "#fff";
  const wide = context.measureText(joint.name).width, left = Math.min(spot[0] + 9, context.canvas.width - wide - 3), top = Math.max(spot[1] - 7, 13);
  context.strokeText(joint.name, left, top); context.fillText(joint.name, left, top);
}
function saidOf(joint) {
  if (!joint) return state.joints.length ? "Choose a joint." : "Choose a skeleton or a box, or add a joint.";
  const clicks = Object.keys(joint.clicks).length, told = misses(joint);
  if (by("target").checked) return "After: drag a joint in any view."
    + (state.joints.some(each => each.source) ? "" : " There is none yet: click joints before the edit first.");
  if (!told) return joint.source ? `${joint.name} lies where the file has it; two clicks place it anew.`
    : `${joint.name}: click it in ${["two views", "a second view, from another side"][clicks] || "other views"}.`;
  const apart = between(joint.clicks, joint.source);
  return `${joint.name} misses its clicks by pixels – ${told}.` + (apart < 10
    ? ` These views look from nearly the same side (${apart.toFixed(0)}° apart): click it in one from another side, too.` : "");
}

function draw() {
  canvases.forEach((canvas, index) => {
    const view = data.views[index], context = canvas.getContext("2d");
    context.drawImage(canvas.picture, 0, 0, canvas.width, canvas.height);
    for (const [key, colour] of [["source", "rgb(31, 119, 255)"], ["target", "rgb(255, 127, 14)"]]) {
      if (key === "target" && !state.joints.some(joint => joint.target)) continue;
      const spots = state.joints.map(joint => { const p = joint[key] || joint.source; return p && project(view, p); });
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = 2.5;
      for (const [a, b] of state.bones) if (spots[a] && spots[b]) {
        context.beginPath(); context.moveTo(...spots[a]); context.lineTo(...spots[b]); context.stroke();
      }
      spots.forEach((spot, i) => { if (spot) {
        context.beginPath(); context.arc(...spot, i === chosen ? 6 : 4, 0, 2 * Math.PI); context.fill();
      } });
    }
    if (state.box) drawBox(context, view, index);
    drawHelp(context, index);
    state.joints.forEach((joint, i) => {
      const pixel = joint.clicks[index];
      if (!pixel || by("target").checked) return;
      context.strokeStyle = i === chosen ? "#ffd400" : "#fff";
      context.lineWidth = 2;
      for (const [dx, dy] of [[7, 0], [0, 7]]) {
        context.beginPath(); context.moveTo(pixel[0] - dx, pixel[1] - dy); context.lineTo(pixel[0] + dx, pixel[1] + dy); context.stroke();
      }
    });
    if (fine && held === index) drawLoupe(context, index);
  });
  by("joints").replaceChildren(...state.joints.map((joint, index) => {
    const button = document.createElement("button");
    button.textContent = joint.name + (joint.source ? " ✓" : "");
    button.setAttribute("aria-pressed", index === chosen);
    button.onclick = () => {
      if (joining !== null && joining !== index) { remember(); state.bones.push([joining, index]); }
      joining = held = fine = null; chosen = index; draw();
    };
    return button;
  }));
  const joint = state.joints[chosen];
  by("said").textContent = saidOf(joint);
  if (state.box) by("said").textContent = saidOfBox();
  else if (joining !== null) by("said").textContent = `Choose the joint to which the bone from ${joint.name} leads.`;
  if (state.kept && state.kept.bounds.source_bounds && !Object.keys(boundsKept()).length)
    by("said").textContent += " The opened file's bounds are left out: they belong to the positions that it had.";
  by("json").value = JSON.stringify(file(), null, 1);
}

function pixelOf(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}
function click(index, pixel) { // of the chosen joint in a view; null takes it back
  const joint = state.joints[chosen];
  if (pixel) joint.clicks[index] = pixel; else delete joint.clicks[index];
  const found = triangulate(joint.clicks);
  if (found) joint.source = found;
}
function drawLoupe(context, index) { // round the click that the mouse holds, in the corner that is farthest from it
  const pixel = state.joints[chosen].clicks[index], canvas = context.canvas, side = 0.4 * Math.min(canvas.width, canvas.height), part = side / FINER;
  const left = pixel[0] < canvas.width / 2 ? canvas.width - side : 0, middle = left + side / 2;
  const top = pixel[1] < canvas.height / 2 ? canvas.height - side : 0;
  context.fillStyle = "#000"; context.fillRect(left, top, side, side);
  context.drawImage(canvas.picture, pixel[0] - part / 2, pixel[1] - part / 2, part, part, left, top, side, side);
  context.strokeStyle = "#ffd400"; context.lineWidth = 2; context.strokeRect(left + 1, top + 1, side - 2, side - 2);
  context.lineWidth = 1;
  for (const sign of [-1, 1]) for (const [dx, dy] of [[1, 0], [0, 1]]) { // a cross that leaves its middle free
    context.beginPath(); context.moveTo(middle + sign * dx * 5, top + side / 2 + sign * dy * 5);
    context.lineTo(middle + sign * dx * 22, top + side / 2 + sign * dy * 22); context.stroke();
  }
}
function down(index, event) {
  const pixel = pixelOf(canvases[index], event), view = data.views[index];
  if (state.box) return boxDown(index, event, pixel);
  if (by("source").checked) {
    const joint = state.joints[chosen];
    if (!joint) return;
    remember();
    if (!event.shiftKey) {
      held = index;
      fine = pixel;
      canvases[index].setPointerCapture(event.pointerId);
    }
    click(index, event.shiftKey ? null : pixel);
  } else {
    const near = state.joints.map((joint, i) => [at(joint) && project(view, at(joint)), i]).filter(([spot]) => spot)
      .map(([spot, i]) => [Math.hypot(spot[0] - pixel[0], spot[1] - pixel[1]), i]).sort((a, b) => a[0] - b[0])[0];
    if (!near || near[0] > 16) return;
    remember();
    chosen = near[1];
    held = index;
    fine = null;
    canvases[index].setPointerCapture(event.pointerId);
  }
  draw();
}
function drag(index, event) {
  if (held !== index) return;
  if (state.box) return boxDrag(index, pixelOf(canvases[index], event));
  const view = data.views[index], joint = state.joints[chosen], pixel = pixelOf(canvases[index], event);
  if (fine) click(index, plus(fine, times(minus(pixel, fine), 1 / FINER)));
  else move(chosen, { place: view.place, along: ray(view, pixel), depth: local(view, at(joint))[2] });
  draw();
}

by("views").style.setProperty("--shape", Math.max(...data.views.map(view => view.size[0] / view.size[1])));
for (const view of data.views) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
  const index = canvases.length;
  [canvas.width, canvas.height] = view.size;
  caption.textContent = view.name;
  canvas.picture = new Image();
  canvas.picture.onload = draw;
  canvas.picture.src = view.picture;
  canvas.onpointerdown = event => down(index, event);
  canvas.onpointermove = event => drag(index, event);
  canvas.onpointerup = canvas.onpointercancel = () => { held = fine = null; draw(); };
  figure.append(canvas, caption);
  by("views").append(figure);
  canvases.push(canvas);
}
for (const name of Object.keys(data.templates)) by("template").append(new Option(name, name));
by("template").onchange = event => {
  const skeleton = data.templates[event.target.value];
  if (!skeleton) return;
  remember();
  const joints = skeleton.joints.map(name => ({ name, clicks: {}, source: null, target: null }));
  state = { joints, bones: skeleton.bones.slice(), box: joints.length ? null : newBox(), kept: null };
  chosen = 0; draw();
};
by("add").onclick = () => {
  const name = prompt("The joint's name");
  if (!name || state.joints.some(joint => joint.name === name)) return;
  remember();
  state.box = null;
  chosen = state.joints.push({ name, clicks: {}, source: null, target: null }) - 1; draw();
};
by("join").onclick = () => { if (state.joints.length) { joining = chosen; draw(); } };
by("undo").onclick = () => { held = fine = null; if (past.length) state = JSON.parse(past.pop()); chosen = Math.min(chosen, state.joints.length - 1); draw(); };
by("save").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([by("json").value + "\n"], { type: "application/json" }));
  link.download = "proxy.json"; link.click();
  const saved = JSON.parse(by("json").value), still = JSON.stringify(saved.source) === JSON.stringify(saved.target);
  by("said").textContent = "proxy.json is where your browser saves files: put it into the capture's folder, or give it to scene.proxy."
    + (still ? " Nothing moves in it yet: after is the same as before." : "");
};
by("open").onchange = async event => {
  try {
    const proxy = JSON.parse(await event.target.files[0].text());
    if (!["skeleton", "box"].includes(proxy.kind)) throw new Error("it is neither a skeleton nor a box");
    remember(); load(proxy); draw();
  } catch (error) { by("said").textContent = `The file cannot be opened: ${error.message}.`; }
};
document.addEventListener("keydown", event => { if (event.key === "z" && (event.ctrlKey || event.metaKey)) by("undo").click(); });
by("source").onchange = by("target").onchange = draw;
if (data.proxy) load(data.proxy);
draw();
