"use strict";
// The page of a study: sorting, filtering and curves of a table of recordings. `data` comes from fgnet_plugin/report/study.py.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const UNKNOWN = 255, WIDTH = 120, HEIGHT = 22;
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const state = { key: null, up: true, au: data.aus[0] };

function shade(cell, share) {
  if (share === null) { cell.textContent = "–"; return; }
  cell.textContent = `${Math.round(100 * share)}`;
  cell.style.background = `rgba(0, 114, 178, ${(0.55 * share).toFixed(3)})`;
}

function drawCurve(canvas, text) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, WIDTH, HEIGHT);
  if (!text) return;
  const values = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const x = (i) => ((i + 0.5) * WIDTH) / values.length, y = (v) => HEIGHT - 2 - (v / 250) * (HEIGHT - 4);
  context.fillStyle = "#d0d7de";
  values.forEach((v, i) => { if (v === UNKNOWN) context.fillRect((i * WIDTH) / values.length, 0, WIDTH / values.length, HEIGHT); });
  context.strokeStyle = "#888";
  context.setLineDash([2, 3]);
  context.beginPath();
  context.moveTo(0, y(250 * data.threshold)); context.lineTo(WIDTH, y(250 * data.threshold));
  context.stroke();
  context.setLineDash([]);
  context.strokeStyle = "#0072b2";
  context.lineWidth = 1.3;
  context.beginPath();
  let drawing = false;
  values.forEach((v, i) => {
    if (v === UNKNOWN) { drawing = false; return; }
    if (drawing) context.lineTo(x(i), y(v)); else context.moveTo(x(i), y(v));
    drawing = true;
  });
  context.stroke();
}

const rows = data.rows.map((row) => {
  const element = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  if (row.link) {
    const link = document.createElement("a");
    link.href = row.link;
    link.textContent = row.name;
    head.append(link);
  } else head.textContent = row.name;
  element.append(head);
  const cell = (text) => { const td = element.insertCell(); td.textContent = text; return td; };
  cell(row.seconds === null ? "–" : row.seconds < 60 ? `${row.seconds.toFixed(1)} s` : `${(row.seconds / 60).toFixed(1)} min`);
  cell(`${Math.round(100 * row.share)} %`);
  cell(row.persons);
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH; canvas.height = HEIGHT;
  element.insertCell().append(canvas);
  data.aus.forEach((au) => shade(element.insertCell(), row.present[au] ?? null));
  return { ...row, element, canvas, drawn: null };
});

// Curves are drawn when they come into view: a thousand at once would take a second.
const watcher = new IntersectionObserver((seen) => {
  for (const entry of seen) if (entry.isIntersecting) drawRow(entry.target.ofRow);
}, { rootMargin: "300px" });
function drawRow(row) {
  if (row.drawn === state.au) return;
  row.drawn = state.au;
  drawCurve(row.canvas, row.curves[state.au]);
}
for (const row of rows) { row.canvas.ofRow = row; watcher.observe(row.canvas); }

function value(row, key) {
  return key === "name" ? row.name : key in row ? row[key] : row.present[key] ?? null;
}

function arrange() {
  const wanted = byId("name").value.trim().toLowerCase(), least = Number(byId("least").value) / 100;
  const shown = rows.filter((row) => row.name.toLowerCase().includes(wanted) && row.share >= least);
  if (state.key !== null) {
    const sign = state.up ? 1 : -1;
    shown.sort((a, b) => {
      const x = value(a, state.key), y = value(b, state.key);
      if (x === null || y === null) return (x === null) - (y === null); // unknown ones last
      return sign * (typeof x === "string" ? collator.compare(x, y) : x - y);
    });
  }
  byId("rows").replaceChildren(...shown.map((row) => row.element));
  byId("count").textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} recording${rows.length === 1 ? "" : "s"}`;
}

document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const { key } = button.dataset;
  state.up = state.key === key ? !state.up : key === "name";
  state.key = key;
  document.querySelectorAll("th[aria-sort]").forEach((th) => th.setAttribute("aria-sort", "none"));
  button.closest("th").setAttribute("aria-sort", state.up ? "ascending" : "descending");
  arrange();
}));
byId("name").addEventListener("input", arrange);
byId("least").addEventListener("input", arrange);
byId("au").addEventListener("change", () => {
  state.au = byId("au").value;
  for (const row of rows) { const box = row.canvas.getBoundingClientRect(); if (box.bottom > -300 && box.top < innerHeight + 300) drawRow(row); }
  watcher.disconnect();
  for (const row of rows) watcher.observe(row.canvas);
});
byId("copy")?.addEventListener("click", async () => {
  try { await navigator.clipboard.writeText(byId("paragraph").textContent); byId("copied").textContent = "copied"; }
  catch { getSelection().selectAllChildren(byId("paragraph")); byId("copied").textContent = "selected: copy it with your keyboard"; }
});
arrange();
document.documentElement.dataset.ready = "yes";
