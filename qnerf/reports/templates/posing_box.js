// A box that is made by handles: state.box = { clicks, source, target }; a state has its centre, half
// its edge lengths and three unit axes.
const AXES = ["#e0433a", "#2f9e44", "#9c36b5"]; // colours of what moves and turns about its first, second and third axis
const RING = Array.from({ length: 64 }, (_, step) => step * Math.PI / 32);
let grabbed = null; // the handle that the mouse holds
const boxAt = () => by("target").checked ? state.box.target || state.box.source : state.box.source;
const newBox = () => ({ clicks: {}, source: null, target: null });

function cornersOf(box) { // corner k is at the high end of axis a where bit a of k is set
  return [0, 1, 2, 3, 4, 5, 6, 7].map(k =>
    box.axes.reduce((point, axis, a) => plus(point, times(axis, (k >> a & 1 ? 1 : -1) * box.half[a])), box.centre));
}
function boxOf(points) {
  const edges = [1, 2, 4].map(k => minus(points[k], points[0]));
  return { centre: times(plus(points[0], points[7]), 0.5), half: edges.map(edge => length(edge) / 2),
    axes: edges.map(edge => times(edge, 1 / length(edge))) };
}
function readBox(value) { // of the file: eight corners, or centre, size, and yaw or a rotation, whose columns are the axes
  if (Array.isArray(value)) return boxOf(value);
  if (value.rotation) {
    const axes = [0, 1, 2].map(axis => value.rotation.map(row => row[axis])), [u, v, w] = axes;
    const apart = axes.flatMap((a, i) => axes.map((b, j) => Math.abs(dot(a, b) - (i === j))));
    const volume = dot(u, [v[1] * w[2] - v[2] * w[1], v[2] * w[0] - v[0] * w[2], v[0] * w[1] - v[1] * w[0]]);
    if (!(Math.max(...apart) <= 0.01 && volume > 0)) throw new Error("the columns of rotation are no right-handed axes of length 1");
    return { centre: value.centre, half: times(value.size, 0.5), axes };
  }
  const angle = (value.yaw || 0) * Math.PI / 180, cos = Math.cos(angle), sin = Math.sin(angle);
  return { centre: value.centre, half: times(value.size, 0.5), axes: [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]] };
}

const faceOf = (box, axis, side) => plus(box.centre, times(box.axes[axis], side * box.half[axis]));
function turnedBox(box, axis, angle) {
  const [u, v] = [box.axes[(axis + 1) % 3], box.axes[(axis + 2) % 3]], axes = box.axes.slice();
  axes[(axis + 1) % 3] = plus(times(u, Math.cos(angle)), times(v, Math.sin(angle)));
  axes[(axis + 2) % 3] = plus(times(v, Math.cos(angle)), times(u, -Math.sin(angle)));
  return { ...box, axes };
}
function ringOf(box, axis, angle) { // the ring passes outside of the corners
  return plus(box.centre, times(turnedBox(box, axis, angle).axes[(axis + 1) % 3], 1.1 * length(box.half)));
}
function faces(view, box) { // those that the view does not see end on: their axis would have no direction in the image
  const away = minus(box.centre, view.place);
  return [0, 1, 2].filter(axis => Math.abs(dot(box.axes[axis], away)) < 0.96 * length(away)).flatMap(axis => [-1, 1].map(side =>
    ({ kind: "face", axis, side, spot: project(view, faceOf(box, axis, side)) }))).filter(face => face.spot);
}

function grab(view, pixel, reach) { // the handle at a pixel, or null: centre and faces before rings, of a ring what is in front
  const box = boxAt(), far = spot => Math.hypot(spot[0] - pixel[0], spot[1] - pixel[1]), middle = project(view, box.centre);
  const near = [...(middle ? [{ kind: "centre", spot: middle }] : []), ...faces(view, box)]
    .filter(handle => far(handle.spot) <= reach).sort((a, b) => far(a.spot) - far(b.spot))[0];
  if (near) return near;
  const points = [0, 1, 2].flatMap(axis => RING.map(angle => ({ kind: "ring", axis, angle, point: ringOf(box, axis, angle) })));
  const hit = points.map(each => ({ ...each, spot: project(view, each.point), depth: local(view, each.point)[2] }))
    .filter(each => each.spot && far(each.spot) <= reach);
  return hit.sort((a, b) => a.depth - b.depth)[0] || null;
}
function follow(view, pixel, pointOf, unit) { // the value at which pointOf(value) is seen nearest to a pixel: Gauss-Newton from 0 on
  let value = 0;
  for (let step = 0; step < 12; step++) {
    const h = 1e-4 * unit, [low, here, high] = [-h, 0, h].map(more => project(view, pointOf(value + more)));
    if (!low || !here || !high) return 0;
    const slope = [0, 1].map(i => (high[i] - low[i]) / (2 * h)), square = slope[0] ** 2 + slope[1] ** 2;
    if (square * unit * unit < 1) return value; // less than a pixel for a whole unit
    const more = (slope[0] * (pixel[0] - here[0]) + slope[1] * (pixel[1] - here[1])) / square;
    value += Math.max(-0.3 * unit, Math.min(0.3 * unit, more));
  }
  return value;
}
function draggedBox(view, pixel, box, handle) {
  if (handle.kind === "centre") return { ...box, centre: plus(view.place, times(ray(view, pixel), local(view, box.centre)[2])) };
  const { axis, side } = handle;
  if (handle.kind === "ring") return turnedBox(box, axis, follow(view, pixel, angle => ringOf(box, axis, handle.angle + angle), 1));
  const size = 2 * box.half[axis], out = times(box.axes[axis], side), face = faceOf(box, axis, side);
  const more = Math.max(-0.95 * size, follow(view, pixel, far => plus(face, times(out, far)), length(box.half)));
  const half = box.half.slice();
  half[axis] = (size + more) / 2;
  return { ...box, half, centre: plus(box.centre, times(out, more / 2)) }; // the face on the other side stays
}

function boxDown(index, event, pixel) {
  const canvas = canvases[index], box = state.box, reach = 11 * canvas.width / canvas.getBoundingClientRect().width;
  grabbed = box.source && !event.shiftKey ? grab(data.views[index], pixel, reach) : null;
  if (grabbed) {
    remember();
    held = index;
    canvas.setPointerCapture(event.pointerId);
  } else if (by("source").checked) {
    remember();
    if (event.shiftKey) delete box.clicks[index]; else box.clicks[index] = pixel;
    const centre = triangulate(box.clicks);
    if (centre && box.source) box.source.centre = centre;
    else if (centre) {
      const edge = 0.12 * length(minus(centre, data.views[index].place));
      box.source = { centre, half: [edge, edge, edge], axes: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] };
    }
  }
  draw();
}
function boxDrag(index, pixel) {
  const found = draggedBox(data.views[index], pixel, boxAt(), grabbed);
  if (by("target").checked) state.box.target = found;
  else { state.box.source = found; if (grabbed.kind !== "ring") state.box.clicks = {}; } // the clicks no longer tell its centre
  draw();
}

const EDGES = [0, 1, 2, 3, 4, 5, 6, 7].flatMap(a => [1, 2, 4].filter(bit => !(a & bit)).map(bit => [a, a | bit]));
function drawBox(context, view, index) {
  const stroke = (from, to) => { if (from && to) { context.beginPath(); context.moveTo(...from); context.lineTo(...to); context.stroke(); } };
  const box = state.box, shown = box.source && boxAt(), unit = context.canvas.width / context.canvas.getBoundingClientRect().width || 1;
  for (const [key, colour] of [["source", "rgb(31, 119, 255)"], ["target", "rgb(255, 127, 14)"]]) {
    if (!box[key]) continue;
    const spots = cornersOf(box[key]).map(corner => project(view, corner));
    context.strokeStyle = colour; context.lineWidth = (box[key] === shown ? 2 : 1.2) * unit;
    for (const [a, b] of EDGES) stroke(spots[a], spots[b]);
  }
  if (shown) {
    const depth = local(view, shown.centre)[2], middle = project(view, shown.centre);
    for (const axis of [0, 1, 2]) RING.forEach((angle, step) => {
      const ends = [angle, RING[(step + 1) % RING.length]].map(each => ringOf(shown, axis, each));
      const front = local(view, ends[0])[2] <= depth;
      context.strokeStyle = AXES[axis]; context.globalAlpha = front ? 0.9 : 0.25; context.lineWidth = (front ? 2 : 1) * unit;
      stroke(...ends.map(end => project(view, end)));
    });
    context.globalAlpha = 1; context.strokeStyle = "#fff"; context.lineWidth = 1.5 * unit;
    const spots = [...faces(view, shown).map(face => [face.spot, AXES[face.axis]]), ...(middle ? [[middle, "#ffd400"]] : [])];
    for (const [spot, colour] of spots) {
      context.fillStyle = colour;
      context.beginPath(); context.arc(...spot, 5 * unit, 0, 2 * Math.PI); context.fill(); context.stroke();
    }
  }
  const pixel = box.clicks[index];
  context.strokeStyle = "#ffd400"; context.lineWidth = 2 * unit;
  if (pixel) for (const [dx, dy] of [[7 * unit, 0], [0, 7 * unit]])
    stroke([pixel[0] - dx, pixel[1] - dy], [pixel[0] + dx, pixel[1] + dy]);
}
function saidOfBox() {
  const box = state.box;
  if (!box.source) return `Before: click the box's centre in two views (${Object.keys(box.clicks).length} so far).`;
  const sizes = boxAt().half.map(half => (2 * half * data.scale).toPrecision(3)).join(" × ");
  const told = misses({ source: box.source.centre, clicks: box.clicks });
  return `The box is ${sizes} long, in the capture's units. Drag its faces' dots to size it, a ring to turn it, the yellow dot to move it.`
    + (told ? ` Its centre before misses its clicks by pixels – ${told}.` : "");
}
