// Two columns of the views over one another, with a border between them that moves, and the views one after the other.
// The pictures are those of the table below, so that none is in the page twice; so are edited views beside what was rendered there.

const ORBIT_MILLISECONDS = 250;
const byId = (id) => document.getElementById(id);
const titles = [...byId("views").querySelectorAll("div > b")].map((head) => head.textContent);
const pictures = [...byId("views").querySelectorAll("img")];
const names = [...byId("views").querySelectorAll(".name")].map((name) => name.textContent);
let timer = null;

function draw() {
  const row = Number(byId("turn").value) * titles.length;
  const [left, right] = ["left", "right"].map((id) => Number(byId(id).value));
  const split = Number(byId("split").value);
  const layers = [left, right].map((column) => {
    const image = document.createElement("img");
    image.src = pictures[row + column].src;
    image.alt = pictures[row + column].alt;
    return image;
  });
  layers[1].style.clipPath = `inset(0 0 0 ${split}%)`;
  const edge = document.createElement("i");
  edge.style.left = `${split}%`;
  const words = [[titles[left], "left"], [`${titles[right]}, ${names[Number(byId("turn").value)]}`, "right"]].map(([text, side]) => {
    const label = document.createElement("span");
    label.textContent = text;
    label.style[side] = ".3rem";
    return label;
  });
  byId("stage").replaceChildren(...layers, edge, ...words);
}

function toggleOrbit() {
  clearInterval(timer);
  timer = timer ? null : setInterval(() => {
    byId("turn").value = (Number(byId("turn").value) + 1) % names.length;
    draw();
  }, ORBIT_MILLISECONDS);
  byId("orbit").textContent = timer ? "Stop" : "Orbit";
}

function drag(event) { // anywhere on the picture
  if (event.type === "pointermove" && !event.buttons) return;
  const place = byId("stage").getBoundingClientRect();
  byId("split").value = (100 * (event.clientX - place.left)) / place.width;
  draw();
}

for (const image of document.querySelectorAll("[data-of]")) { // an edited view beside its rendering
  const edited = pictures[Number(image.dataset.view) * titles.length + titles.indexOf(image.dataset.of)];
  [image.src, image.alt] = [edited.src, edited.alt];
}
for (const [id, chosen] of [["left", 0], ["right", titles.length - 1]]) {
  byId(id).replaceChildren(...titles.map((title, index) => new Option(title, index, index === chosen, index === chosen)));
  byId(id).onchange = draw;
}
byId("split").oninput = draw;
byId("turn").oninput = draw;
byId("orbit").onclick = toggleOrbit;
byId("stage").onpointerdown = drag;
byId("stage").onpointermove = drag;
byId("viewer").hidden = titles.length < 2;
draw();
