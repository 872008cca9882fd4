"use strict";
const { rows, labels, channels, tile } = JSON.parse(document.getElementById("data").textContent);
const DECIMALS = { similarity: 3, registration_score: 1, confidence: 3 };
const SCORES = Object.keys(DECIMALS);
const ROW_PX = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--row"));
const SPARE_ROWS = 4; // rows that are created above and below the visible ones
const ALL = -1;

const filters = document.getElementById("filters");
const table = document.getElementById("claims");
const body = table.tBodies[0];
const [above, below] = body.querySelectorAll(".spacer");
const large = document.getElementById("large");
const sort = { key: "confidence", sign: 1 };
const live = new Map(); // claim -> its row, while it is near the visible ones
let shown = rows;
let active = 0; // index in `shown` of the row with the keyboard focus
let opened = 0; // index in `shown` of the claim in the large view
let channel = ALL;

// Filters and order

const named = (label) => `${label} ${labels[label]}`;
for (const row of rows) {
  const texts = [row.id, row.match_id, ...row.labels.map(named), ...(row.before ?? []).map(named)];
  row.text = texts.join("\n").toLowerCase();
}

function passing() {
  const wanted = Object.fromEntries(new FormData(filters));
  const text = wanted.text.trim().toLowerCase();
  const bounds = SCORES.map((key) => [key, wanted[`${key}-min`], wanted[`${key}-max`]])
    .filter(([, min, max]) => min || max)
    .map(([key, min, max]) => [key, min ? Number(min) : -Infinity, max ? Number(max) : Infinity]);
  return (row) =>
    (!wanted.relation || row.relation === wanted.relation) &&
    (!wanted.decision || row.decision === wanted.decision) &&
    row.text.includes(text) &&
    bounds.every(([key, min, max]) => row[key] !== null && min <= row[key] && row[key] <= max);
}

function inOrder(a, b) {
  const [x, y] = [a[sort.key], b[sort.key]];
  if (x === null || y === null) return (x === null) - (y === null); // unknown values come last
  return sort.sign * ((x > y) - (x < y));
}

function update() {
  shown = rows.filter(passing()).sort(inOrder);
  active = 0;
  const hidden = table.getBoundingClientRect().top - filters.offsetHeight;
  if (hidden < 0) scrollBy(0, hidden); // shows the first row
  document.getElementById("count").textContent = `${shown.length} of ${rows.length}`;
  document.getElementById("nothing").hidden = shown.length > 0;
  table.setAttribute("aria-rowcount", shown.length + 1);
  for (const head of table.querySelectorAll("th[data-key]")) {
    const sorted = head.dataset.key === sort.key;
    head.setAttribute("aria-sort", sorted ? (sort.sign > 0 ? "ascending" : "descending") : "none");
  }
  render();
}

// Only rows near the visible ones exist

function render() {
  const top = above.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(-top / ROW_PX) - SPARE_ROWS);
  const last = Math.min(shown.length, Math.ceil((innerHeight - top) / ROW_PX) + SPARE_ROWS);
  const wanted = shown.slice(Math.min(first, last), last);
  const kept = new Set(wanted);
  for (const [claim, tr] of live) {
    if (kept.has(claim)) continue;
    if (tr === document.activeElement) table.focus({ preventScroll: true });
    tr.remove();
    live.delete(claim);
  }
  let place = above;
  wanted.forEach((claim, n) => {
    if (!live.has(claim)) live.set(claim, rowOf(claim));
    const tr = live.get(claim);
    tr.setAttribute("aria-rowindex", first + n + 2);
    tr.tabIndex = first + n === active || (n === 0 && !kept.has(shown[active])) ? 0 : -1;
    if (place.nextElementSibling !== tr) place.after(tr);
    place = tr;
  });
  above.cells[0].style.height = `${Math.min(first, last) * ROW_PX}px`;
  below.cells[0].style.height = `${(shown.length - last) * ROW_PX}px`;
}

function rowOf(claim) {
  const tr = document.getElementById("row").content.firstElementChild.cloneNode(true);
  fill(tr, claim);
  tr.querySelector(".id").textContent = claim.id;
  tr.querySelector(".match").textContent = `→ ${claim.match_id}`;
  const numbers = tr.querySelectorAll(".number");
  SCORES.forEach((key, n) => { numbers[n].textContent = written(claim, key); });
  tr.claim = claim;
  drawRow(tr);
  return tr;
}

function fill(where, claim) {
  for (const name of ["relation", "decision"]) {
    const chip = where.querySelector(`.chip.${name}`);
    chip.textContent = claim[name];
    chip.className = `chip ${name} ${claim[name]}`;
  }
  where.querySelector(".reason").textContent = claim.reason;
  where.querySelector(".difference").src = claim.difference;
  const moved = claim.decision === "transfer";
  const { before } = claim;
  const lost = (label) => moved && !claim.labels.includes(label);
  const gained = (label) => moved && before && !before.includes(label);
  where.querySelector(".before").replaceChildren(
    ...(before ?? []).map((label) => item(named(label), lost(label) && "dropped")),
    ...(before ? [] : [item("–", "unknown")]),
  );
  where.querySelector(".after").replaceChildren(
    ...(moved ? [] : [item("not transferred:", "withheld")]),
    ...claim.labels.map((label) => item(named(label), moved ? gained(label) && "added" : "withheld")),
  );
}

function item(text, kind) {
  const li = document.createElement("li");
  li.textContent = text;
  li.className = kind || "";
  return li;
}

const written = (claim, key) => claim[key]?.toFixed(DECIMALS[key]) ?? "–";

// The large view of one claim

function open(place) {
  opened = within(place);
  const claim = shown[opened];
  fill(large, claim);
  document.getElementById("large-id").textContent = `${claim.id} → ${claim.match_id}`;
  document.getElementById("large-place").textContent = `${opened + 1} of ${shown.length}`;
  for (const key of SCORES) large.querySelector(`.${key}`).textContent = written(claim, key);
  large.querySelector(".geometry").textContent = claim.geometry;
  large.querySelector("#with-outlines").hidden = !claim.blocks;
  drawLarge(claim);
  if (!large.open) large.showModal();
}

const within = (place) => Math.min(Math.max(place, 0), shown.length - 1);

// Mouse and keys

function go(place) {
  if (!shown.length) return;
  active = within(place);
  const head = table.querySelector("th").getBoundingClientRect().bottom; // the cells are sticky, rows are not
  const top = above.getBoundingClientRect().top + active * ROW_PX;
  if (top < head) scrollBy(0, top - head);
  else if (top + ROW_PX > innerHeight) scrollBy(0, top + ROW_PX - innerHeight);
  render();
  live.get(shown[active]).focus({ preventScroll: true });
}

table.addEventListener("keydown", (event) => {
  if (event.target.closest("thead")) return;
  const steps = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: shown.length - 1 };
  if (event.key in steps) go(steps[event.key]);
  else if (event.key === "Enter" && shown.length) open(active);
  else return;
  event.preventDefault();
});
body.addEventListener("focusin", (event) => { active = shown.indexOf(event.target.claim); });
body.addEventListener("click", (event) => {
  const { claim } = event.target.closest("tr");
  if (claim && getSelection().isCollapsed) open(shown.indexOf(claim));
});
table.tHead.addEventListener("click", (event) => {
  if (!event.target.matches(".sort")) return;
  const { key } = event.target.closest("th").dataset;
  sort.sign = key === sort.key ? -sort.sign : 1;
  sort.key = key;
  update();
});
filters.addEventListener("reset", () => setTimeout(update));
filters.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("input", (event) => {
  if (event.target.matches(".channel")) chooseChannel(Number(event.target.value));
  else if (event.target.form === filters) update();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  const digit = event.key === "0" ? ALL : Number.parseInt(event.key) - 1;
  if (digit >= ALL && digit < channels.length) chooseChannel(digit);
  if (event.key === "/" && !large.open) {
    filters.elements.text.focus();
    event.preventDefault();
  }
});
large.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !event.target.matches("select")) open(opened + step);
});
large.addEventListener("close", () => go(opened));
document.getElementById("previous").addEventListener("click", () => open(opened - 1));
document.getElementById("next").addEventListener("click", () => open(opened + 1));
document.getElementById("close").addEventListener("click", () => large.close());
addEventListener("scroll", render, { passive: true });
addEventListener("resize", render);

for (const select of document.querySelectorAll("select.channel")) {
  select.add(new Option("all", ALL));
  if (channels.length > 1) channels.forEach(({ name }, c) => select.add(new Option(name, c)));
}
