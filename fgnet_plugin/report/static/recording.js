"use strict";
// The page of a recording. `data` is what fgnet_plugin/report/page.py packs.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const UNKNOWN = 65535, STEPS = 10000;

function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Kind(bytes.buffer);
}
function unpackScores(text) {
  return Array.from(unpack(text, Uint16Array), (v) => (v === UNKNOWN ? null : v / STEPS));
}

const frames = unpack(data.frames, Uint32Array);
const times = Array.from(unpack(data.times, Float32Array));
const persons = data.persons.map((p) => ({
  ...p,
  scores: Object.fromEntries(Object.entries(p.scores).map(([au, text]) => [au, unpackScores(text)])),
  certainty: unpackScores(p.certainty),
  yaw: unpack(p.yaw, Int16Array),
  boxes: unpack(p.boxes, Int16Array),
}));
const pictures = data.pictures;
const state = { place: 0, person: 0 };
const charts = [];

function clock(seconds) {
  if (!data.timed) return `frame ${seconds.toFixed(0)}`;
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(2).padStart(5, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

// The picture nearest to a place: frames are embedded at distances only.
function nearestPicture(place) {
  if (!pictures.length) return null;
  let low = 0, high = pictures.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pictures[middle].place < place) low = middle + 1; else high = middle;
  }
  const before = pictures[Math.max(low - 1, 0)];
  return place - before.place < Math.abs(pictures[low].place - place) ? before : pictures[low];
}

function showBox(place, width, height) {
  const box = byId("box"), person = persons[state.person];
  const [x, y, w, h] = person ? person.boxes.subarray(4 * place, 4 * place + 4) : [-1, -1, -1, -1];
  box.hidden = !(w > 0);
  if (box.hidden) return;
  Object.assign(box.style, { left: `${100 * x / width}%`, top: `${100 * y / height}%`, width: `${100 * w / width}%`, height: `${100 * h / height}%` });
}

function showPicture() {
  const image = byId("picture"), video = byId("video");
  let note = "";
  if (!video.hidden) {
    video.currentTime = times[state.place] - times[0] + 0.001;
    showBox(state.place, video.videoWidth, video.videoHeight);
  } else {
    const nearest = nearestPicture(state.place);
    if (nearest) {
      image.src = nearest.src;
      image.hidden = false;
      byId("no-picture").hidden = true;
      image.alt = `The recording at ${clock(times[nearest.place])}`;
      const fit = () => showBox(nearest.place, image.naturalWidth / nearest.scale, image.naturalHeight / nearest.scale);
      if (image.complete) fit(); else image.onload = fit;
      if (nearest.place !== state.place) note = ` The picture is of ${clock(times[nearest.place])}, the nearest on this page.`;
    }
  }
  return note;
}

function showScores() {
  const body = byId("scores"), person = persons[state.person];
  body.textContent = "";
  if (!person) return;
  for (const au of data.aus) {
    const score = person.scores[au.name][state.place];
    const row = body.insertRow();
    if (score !== null && score > data.threshold) row.className = "present";
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = `${au.name} ${au.text}`;
    row.append(head);
    const bar = row.insertCell();
    bar.className = "bar";
    const length = document.createElement("div");
    length.style.width = `${100 * (score ?? 0)}%`;
    bar.append(length);
    const number = row.insertCell();
    number.className = "number";
    number.textContent = score === null ? "–" : score.toFixed(2);
  }
}

function show(place) {
  state.place = Math.min(Math.max(place, 0), frames.length - 1);
  const person = persons[state.person];
  const face = person && person.scores[data.aus[0]?.name]?.[state.place] != null;
  const note = showPicture();
  showScores();
  const position = frames.length > 1 ? `${clock(times[state.place])}${data.timed ? `, frame ${frames[state.place]}` : ""}` : "";
  const yaw = person ? person.yaw[state.place] : -999;
  const turned = yaw > -999 && Math.abs(yaw) >= 20 ? ` Head turned by ${Math.abs(yaw)}°.` : "";
  byId("where").textContent = `${position}${position && !face ? ": no face." : position ? "." : ""}${turned}${note}`;
  const slider = byId("slider");
  if (slider) {
    slider.value = state.place;
    slider.setAttribute("aria-valuetext", position);
  }
  for (const chart of charts) moveLine(chart);
}

function moveLine(chart) {
  const left = chart.plot.valToPos(times[state.place], "x");
  const width = chart.plot.bbox.width / devicePixelRatio;
  chart.line.hidden = left < 0 || left > width;
  chart.line.style.left = `${left + chart.plot.bbox.left / devicePixelRatio}px`;
}

// Stretches in which values are null, as pairs of places.
function gapsOf(values) {
  const gaps = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== null) continue;
    let j = i;
    while (j + 1 < values.length && values[j + 1] === null) j++;
    gaps.push([i, j]);
    i = j;
  }
  return gaps;
}

let hatch = null;
function hatched(context) {
  if (hatch) return hatch;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const c = tile.getContext("2d");
  c.strokeStyle = "#999";
  c.beginPath();
  c.moveTo(0, 6); c.lineTo(6, 0);
  c.stroke();
  hatch = context.createPattern(tile, "repeat");
  return hatch;
}

function drawBehind(plot, au) {
  const person = persons[state.person], context = plot.ctx, { left, top, width, height } = plot.bbox;
  const step = times.length > 1 ? (times[times.length - 1] - times[0]) / (times.length - 1) : 1;
  const edge = (t) => Math.min(Math.max(plot.valToPos(t, "x", true), left), left + width);
  const fill = (from, to, style) => {
    const x0 = edge(times[from] - step / 2), x1 = edge(times[to] + step / 2);
    if (x1 <= x0) return;
    context.fillStyle = style;
    context.fillRect(x0, top, Math.max(x1 - x0, 1), height);
  };
  context.save();
  for (const [from, to] of person.gaps[au]) fill(from, to, hatched(context));
  for (const place of data.breaks) {
    context.fillStyle = hatched(context);
    const x0 = edge(times[place] + step / 2), x1 = edge(times[place + 1] - step / 2);
    context.fillRect(x0, top, x1 - x0, height);
  }
  for (const [name, onset, , offset] of person.events) if (name === au) fill(onset, offset, "rgba(230, 159, 0, .35)");
  const y = plot.valToPos(data.threshold, "y", true);
  context.setLineDash([5, 4]);
  context.strokeStyle = "#666";
  context.beginPath();
  context.moveTo(left, y); context.lineTo(left + width, y);
  context.stroke();
  context.restore();
}

function broken(values) {
  if (!data.breaks.length) return values;
  const cut = values.slice();
  for (const place of data.breaks) cut[place] = null;
  return cut;
}

let zooming = false;
function drawCharts() {
  const parent = byId("charts");
  if (!parent || !persons.length) return;
  for (const chart of charts.splice(0)) chart.plot.destroy();
  parent.textContent = "";
  const person = persons[state.person];
  person.gaps ??= Object.fromEntries(data.aus.map((au) => [au.name, gapsOf(person.scores[au.name])]));
  const width = Math.max(parent.clientWidth, 200);
  data.aus.forEach((au, number) => {
    const last = number === data.aus.length - 1;
    const element = document.createElement("div");
    element.className = "chart";
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", `${au.name} ${au.text}: score over time; the table below has its summary`);
    const title = document.createElement("h3");
    title.textContent = `${au.name} ${au.text}`;
    const line = document.createElement("div");
    line.className = "now";
    element.append(title, line);
    parent.append(element);
    const plot = new uPlot({
      width, height: last ? 92 : 62, legend: { show: false },
      cursor: { sync: { key: "tracks" }, y: false, points: { size: 5 }, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: [-0.06, 1.1] } },
      axes: [
        { show: last, size: 30, values: (_, ticks) => ticks.map((t) => (data.timed ? clock(t).replace(/\.00$/, "") : t)) },
        { size: 28, font: "10px system-ui, sans-serif", splits: () => [0, 1], values: () => ["0", "1"], grid: { show: false } },
      ],
      padding: [4, 8, 0, 0],
      series: [{}, { stroke: "#0072b2", width: 1.5, spanGaps: false, points: { show: frames.length < 60 } }],
      hooks: {
        drawClear: [(u) => drawBehind(u, au.name)],
        setScale: [(u, key) => {
          if (key !== "x" || zooming) return;
          zooming = true;
          const { min, max } = u.scales.x;
          for (const other of charts) if (other.plot !== u) other.plot.setScale("x", { min, max });
          zooming = false;
          requestAnimationFrame(() => charts.forEach(moveLine));
        }],
        ready: [(u) => u.over.addEventListener("click", () => { if (u.cursor.idx != null && u.select.width === 0) show(u.cursor.idx); })],
      },
    }, [times, broken(person.scores[au.name])], element);
    charts.push({ plot, line });
  });
}

function drawPersons() {
  const set = byId("persons");
  if (!set) return;
  persons.forEach((person, number) => {
    const label = document.createElement("label");
    label.className = "person";
    const name = document.createElement("span");
    const radio = document.createElement("input");
    radio.type = "radio"; radio.name = "person"; radio.checked = number === state.person;
    radio.addEventListener("change", () => choosePerson(number));
    name.append(radio, ` ${person.label}`);
    const strip = document.createElement("canvas");
    strip.width = 600; strip.height = 14;
    const context = strip.getContext("2d");
    context.fillStyle = "#eee";
    context.fillRect(0, 0, 600, 14);
    context.fillStyle = "#0072b2";
    person.certainty.forEach((value, i) => { if (value !== null) context.fillRect((600 * i) / frames.length, 0, Math.max(600 / frames.length, 1), 14); });
    label.append(name, frames.length > 1 ? strip : "");
    set.append(label);
  });
}

function choosePerson(number) {
  state.person = number;
  document.querySelectorAll('#persons input[type="radio"]').forEach((radio, i) => { radio.checked = i === number; });
  drawCharts();
  show(state.place);
}

function event(direction) {
  const apexes = (persons[state.person]?.events ?? []).map((e) => e[2]).sort((a, b) => a - b);
  const next = direction > 0 ? apexes.find((a) => a > state.place) : apexes.reverse().find((a) => a < state.place);
  if (next !== undefined) show(next);
}

function second(direction) {
  const wanted = times[state.place] + direction;
  let place = state.place;
  while (place + direction >= 0 && place + direction < frames.length && direction * (wanted - times[place]) > 0) place += direction;
  show(place);
}

byId("before")?.addEventListener("click", () => show(state.place - 1));
byId("after")?.addEventListener("click", () => show(state.place + 1));
byId("event-before")?.addEventListener("click", () => event(-1));
byId("event-after")?.addEventListener("click", () => event(1));
byId("slider")?.addEventListener("input", (e) => show(Number(e.target.value)));
byId("file")?.addEventListener("change", (e) => {
  const [file] = e.target.files, video = byId("video");
  if (!file) return;
  video.src = URL.createObjectURL(file);
  video.onloadeddata = () => {
    video.hidden = false;
    byId("picture").hidden = true;
    byId("no-picture").hidden = true;
    show(state.place);
  };
  video.onerror = () => { byId("where").textContent = `${file.name} can't be played by this browser.`; };
});
document.querySelectorAll(".peaks button").forEach((button) => button.addEventListener("click", () => {
  if (Number(button.dataset.person) !== state.person) choosePerson(Number(button.dataset.person));
  show(Number(button.dataset.place));
  byId("tracks").scrollIntoView({ block: "start" });
}));
document.addEventListener("keydown", (e) => {
  if (frames.length < 2 || e.ctrlKey || e.metaKey || e.altKey || /^(SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
  if (e.target.tagName === "INPUT" && e.target.type !== "range") return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
  if (step) { if (e.shiftKey && data.timed) second(step); else show(state.place + step); }
  else if (e.key === "n") event(1);
  else if (e.key === "p") event(-1);
  else if (e.key === "Home") show(0);
  else if (e.key === "End") show(frames.length - 1);
  else return;
  e.preventDefault();
});
byId("copy")?.addEventListener("click", async () => {
  const text = byId("paragraph").textContent;
  try { await navigator.clipboard.writeText(text); byId("copied").textContent = "copied"; }
  catch {
    getSelection().selectAllChildren(byId("paragraph"));
    byId("copied").textContent = "selected: copy it with your keyboard";
  }
});
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => { drawCharts(); show(state.place); }, 150); });

drawPersons();
drawCharts();
show(persons[0]?.events.length ? persons[0].events.reduce((a, b) => (b[4] > a[4] ? b : a))[2] : 0);
document.documentElement.dataset.ready = "yes";
