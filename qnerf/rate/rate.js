// A pair of unnamed edits at a time; a choice by mouse or key; the choices as CSV.
"use strict";
const CHOICES = ["left", "neither", "right"];
const KEYS = { ArrowLeft: "left", 1: "left", ArrowDown: "neither", 2: "neither", ArrowRight: "right", 3: "right" };
const COLUMNS = ["scene", "rater", "number", "left", "right", "choice", "seconds"];
const EVERY = 250; // milliseconds a view
const element = (id) => document.getElementById(id);

let view = 0;
let turning = true;
let shownAt = performance.now();
const answers = [];

function show(id, strip) {
  const place = element(id);
  place.style.aspectRatio = String(data.ratio);
  place.style.backgroundImage = `url(${strip})`;
  place.style.backgroundSize = `${100 * data.views}% 100%`;
}

function turn(to) {
  view = to % data.views;
  const share = data.views > 1 ? (100 * view) / (data.views - 1) : 0;
  for (const place of document.querySelectorAll(".view")) place.style.backgroundPosition = `${share}% 0`;
  element("view").value = view;
}

function next() {
  const done = answers.length === data.pairs.length;
  element("question").hidden = done;
  element("done").hidden = !done;
  element("progress").textContent = `${Math.min(answers.length + 1, data.pairs.length)} of ${data.pairs.length}`;
  const link = element("save");
  link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv())}`;
  link.download = `ratings_${data.scene}_${rater() || "rater"}.csv`;
  if (done) return;
  const [left, right] = data.pairs[answers.length];
  show("left", data.strips[left]);
  show("right", data.strips[right]);
  shownAt = performance.now();
}

function choose(choice) {
  if (answers.length === data.pairs.length || !CHOICES.includes(choice)) return;
  const [left, right] = data.pairs[answers.length];
  const seconds = ((performance.now() - shownAt) / 1000).toFixed(2);
  answers.push({ scene: data.scene, number: answers.length + 1, left, right, choice, seconds });
  next();
}

function rater() {
  return element("rater").value.trim();
}

function quoted(value) {
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv() {
  const rows = answers.map((answer) => ({ ...answer, rater: rater() }));
  return [COLUMNS, ...rows.map((row) => COLUMNS.map((column) => row[column]))].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

for (const choice of CHOICES) element(`choose-${choice}`).addEventListener("click", () => choose(choice));
for (const side of ["left", "right"]) element(side).addEventListener("click", () => choose(side));
element("rater").addEventListener("input", next);
element("back").addEventListener("click", () => { answers.pop(); next(); });
element("view").max = data.views - 1;
element("view").addEventListener("input", (event) => { turning = false; turn(Number(event.target.value)); });
element("turn").addEventListener("click", () => { turning = !turning; });
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key in KEYS) { event.preventDefault(); choose(KEYS[event.key]); }
});
show("source", data.source);
element("target-figure").hidden = data.target === null;
if (data.target !== null) show("target", data.target);
setInterval(() => { if (turning) turn(view + 1); }, EVERY);
turn(0);
next();
