const canvas = document.getElementById("canvas"), gl = canvas.getContext("webgl", { antialias: true });
const byId = id => document.getElementById(id);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
let start, yaw, pitch, far, middle, share = byId("wipe") ? 0.5 : 0, thick = 1.6;

function reset() {
  far = Math.hypot(...data.eye); yaw = Math.atan2(data.eye[1], data.eye[0]);
  pitch = Math.asin(Math.max(-1, Math.min(1, data.eye[2] / far))); middle = [0, 0, 0];
}

function program() {
  const made = gl.createProgram();
  const source = { [gl.VERTEX_SHADER]: `attribute vec3 place; attribute vec3 colour; uniform mat4 view; uniform vec3 low, size;
    uniform float thick; varying vec3 ink;
    void main() { gl_Position = view * vec4(low + size * place, 1.0); ink = colour;
      gl_PointSize = clamp(thick / gl_Position.w, 1.0, 64.0); }`,
  [gl.FRAGMENT_SHADER]: `precision mediump float; varying vec3 ink;
    void main() { vec2 d = gl_PointCoord - 0.5; if (dot(d, d) > 0.25) discard; gl_FragColor = vec4(ink, 1.0); }` };
  for (const [kind, text] of Object.entries(source)) {
    const shader = gl.createShader(Number(kind));
    gl.shaderSource(shader, text); gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made); gl.useProgram(made);
  return made;
}

function buffer(array) {
  const made = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, made); gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
  return made;
}

// Column-major: perspective times the camera that looks from (yaw, pitch, far) at the middle, z up.
function matrix(aspect) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const back = [cp * cy, cp * sy, sp], right = [-sy, cy, 0], up = [-sp * cy, -sp * sy, cp];
  const eye = back.map((b, i) => middle[i] + far * b), dot = a => -(a[0] * eye[0] + a[1] * eye[1] + a[2] * eye[2]);
  const f = 1 / Math.tan(data.angle / 2) * Math.min(1, aspect), near = Math.max(0.01, far / 100), end = far + 100;
  const a = (end + near) / (near - end), b = 2 * end * near / (near - end), fx = f / aspect;
  const out = [];
  for (let i = 0; i < 3; i++) out.push(fx * right[i], f * up[i], a * back[i], -back[i]);
  out.push(fx * dot(right), f * dot(up), a * dot(back) + b, -dot(back));
  return { out, right, up, f };
}

function draw() {
  const ratio = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  gl.viewport(0, 0, width, height);
  gl.disable(gl.SCISSOR_TEST);
  gl.clearColor(0.93, 0.93, 0.93, 1); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const { out, f } = matrix(width / height);
  gl.uniformMatrix4fv(start.view, false, out);
  gl.uniform1f(start.thick, thick * data.spacing * f * height / 2);
  gl.enable(gl.SCISSOR_TEST);
  const split = Math.round(share * width);
  for (const [name, from, to] of [["before", 0, split], ["after", split, width]]) {
    const cloud = data.clouds[name];
    if (!cloud || to <= from) continue;
    gl.scissor(from, 0, to - from, height);
    gl.bindBuffer(gl.ARRAY_BUFFER, cloud.place); gl.vertexAttribPointer(start.place, 3, gl.UNSIGNED_SHORT, true, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, cloud.ink); gl.vertexAttribPointer(start.colour, 3, gl.UNSIGNED_BYTE, true, 0, 0);
    gl.drawArrays(gl.POINTS, 0, cloud.count);
  }
  if (split > 0 && split < width) {
    gl.scissor(split - 1, 0, 2, height); gl.clearColor(0.2, 0.2, 0.2, 1); gl.clear(gl.COLOR_BUFFER_BIT);
  }
  if (byId("left")) { byId("left").hidden = split === 0; byId("right").hidden = split === width; }
}

function turn(across, down) {
  yaw -= across; pitch = Math.max(-1.5, Math.min(1.5, pitch + down)); draw();
}
function nearer(factor) { far = Math.max(0.05, Math.min(50, far * factor)); draw(); }
function move(across, down) {
  const { right, up } = matrix(1), step = 2 * far * Math.tan(data.angle / 2) / canvas.clientHeight;
  middle = middle.map((m, i) => m - right[i] * across * step + up[i] * down * step); draw();
}

const held = new Map();
canvas.addEventListener("contextmenu", e => e.preventDefault());
canvas.addEventListener("pointerdown", e => {
  canvas.setPointerCapture(e.pointerId); held.set(e.pointerId, [e.clientX, e.clientY]);
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, e => held.delete(e.pointerId));
canvas.addEventListener("pointermove", e => {
  const last = held.get(e.pointerId);
  if (!last) return;
  const [dx, dy] = [e.clientX - last[0], e.clientY - last[1]], other = [...held].find(([id]) => id !== e.pointerId);
  held.set(e.pointerId, [e.clientX, e.clientY]);
  if (other) {
    const apart = p => Math.hypot(p[0] - other[1][0], p[1] - other[1][1]);
    nearer(apart(last) / Math.max(1, apart([e.clientX, e.clientY]))); move(dx / 2, dy / 2);
  } else if (e.buttons & 2 || e.shiftKey) move(dx, dy);
  else turn(dx / 200, dy / 200);
});
canvas.addEventListener("wheel", e => { e.preventDefault(); nearer(Math.exp(e.deltaY / 800)); }, { passive: false });
const keys = { ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, 0.1),
  ArrowDown: () => turn(0, -0.1), "+": () => nearer(0.9), "=": () => nearer(0.9), "-": () => nearer(1.1) };
canvas.addEventListener("keydown", e => { if (keys[e.key]) { e.preventDefault(); keys[e.key](); } });
byId("reset").addEventListener("click", () => { reset(); draw(); });
byId("thick").addEventListener("input", e => { thick = e.target.value / 10; draw(); });
if (byId("wipe")) {
  const set = value => { share = value; byId("wipe").value = 1000 * value; draw(); };
  byId("wipe").addEventListener("input", e => set(e.target.value / 1000));
  for (const [id, value] of [["swap", 1], ["half", 0.5], ["whole", 0]]) byId(id).addEventListener("click", () => set(value));
}
if (!gl) {
  byId("failed").hidden = false; byId("failed").textContent = "This browser has no WebGL, which the points are drawn with.";
} else {
  const made = program(), uniform = name => gl.getUniformLocation(made, name);
  start = { view: uniform("view"), thick: uniform("thick"), place: gl.getAttribLocation(made, "place"),
    colour: gl.getAttribLocation(made, "colour") };
  gl.uniform3fv(uniform("low"), data.low); gl.uniform3fv(uniform("size"), data.size);
  gl.enableVertexAttribArray(start.place); gl.enableVertexAttribArray(start.colour); gl.enable(gl.DEPTH_TEST);
  for (const cloud of Object.values(data.clouds)) {
    cloud.place = buffer(new Uint16Array(bytes(cloud.positions).buffer)); cloud.ink = buffer(bytes(cloud.colours));
  }
  reset(); draw();
  window.addEventListener("resize", draw);
}
