"use strict";
const { rows, labels, channels, tile, submitted } = JSON.parse(document.getElementById("data").textContent);
const DECIMALS = { similarity: 3, registration_score: 1, confidence: 3 };
const SCORES = Object.keys(DECIMALS);
const SPARE_ROWS = 4; // rows that are created above and below the visible ones
const ALL = -1;
const START = { key: "relation", sign: 1 }; // copies come first, and equal values stay as they are listed

const filters = document.getElementById("filters");
const table = document.getElementById("claims");
const bar = document.getElementById("bar");
const body = document.getElementById("list");
const [above, below] = body.querySelectorAll(".spacer");
const large = document.getElementById("large");
const sort = { ...START };
const live = new Map(); // claim -> its row, while it is near the visible ones
let shown = rows;
let active = 0; // index in `shown` of the row with the keyboard focus
let opened = 0; // index in `shown` of the claim in the large view
let channel = ALL;
let rowPx = 0; // the height of a row, which differs in narrow windows

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
    (!wanted.verdict || (standing(row) ?? "none") === wanted.verdict) &&
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
  recent = null;
  const hidden = table.getBoundingClientRect().top - bar.offsetHeight;
  if (hidden < 0) scrollBy(0, hidden); // shows the first row
  document.getElementById("count").textContent = `${shown.length} of ${rows.length}`;
  document.getElementById("nothing").hidden = shown.length > 0;
  table.setAttribute("aria-rowcount", shown.length + 1);
  for (const head of table.querySelectorAll("th[data-key]")) {
    const sorted = head.dataset.key === sort.key;
    head.setAttribute("aria-sort", sorted ? (sort.sign > 0 ? "ascending" : "descending") : "none");
  }
  render();
  remember();
}

// Only rows near the visible ones exist

function render() {
  const top = above.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(-top / rowPx) - SPARE_ROWS);
  const last = Math.min(shown.length, Math.ceil((innerHeight - top) / rowPx) + SPARE_ROWS);
  const wanted = shown.slice(Math.min(first, last), last);
  const kept = new Set(wanted);
  for (const [claim, tr] of live) {
    if (kept.has(claim)) continue;
    if (tr.contains(document.activeElement)) table.focus({ preventScroll: true });
    tr.remove();
    live.delete(claim);
  }
  let place = above;
  wanted.forEach((claim, n) => {
    if (!live.has(claim)) {
      live.set(claim, rowOf(claim));
      drawRow(live.get(claim));
    }
    const tr = live.get(claim);
    tr.setAttribute("aria-rowindex", first + n + 2);
    tr.tabIndex = first + n === active || (n === 0 && !kept.has(shown[active])) ? 0 : -1;
    for (const button of tr.querySelectorAll("button")) button.tabIndex = tr.tabIndex;
    if (place.nextElementSibling !== tr) place.after(tr);
    place = tr;
  });
  above.cells[0].style.height = `${Math.min(first, last) * rowPx}px`;
  below.cells[0].style.height = `${(shown.length - last) * rowPx}px`;
}

function measure() {
  document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`);
  rowPx = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  render();
}

function rowOf(claim) {
  const tr = document.getElementById("row").content.firstElementChild.cloneNode(true);
  fill(tr, claim);
  tr.querySelector(".id").textContent = claim.id;
  tr.querySelector(".match").textContent = `→ ${claim.match_id}`;
  const numbers = tr.querySelectorAll(".number");
  SCORES.forEach((key, n) => { numbers[n].textContent = written(claim, key); });
  tr.claim = claim;
  return tr;
}

function fill(where, claim) {
  for (const name of ["relation", "decision"]) {
    const chip = where.querySelector(`.chip.${name}`);
    chip.textContent = claim[name];
    chip.className = `chip ${name} ${claim[name]}`;
  }
  where.querySelector(".reason").textContent = claim.reason;
  const difference = where.querySelector(".difference");
  difference.src = claim.difference;
  difference.alt = `difference of ${claim.id} and ${claim.match_id}`;
  describe(where.querySelectorAll("canvas"), claim);
  showVerdict(where, claim);
  const moved = claim.decision === "transfer";
  const { before } = claim;
  const lost = (label) => moved && !claim.labels.includes(label);
  const gained = (label) => moved && before && !before.includes(label);
  where.querySelector("ul.before").replaceChildren(
    ...(before ?? []).map((label) => item(named(label), lost(label) && "dropped")),
    ...(before ? [] : [item("–", "unknown")]),
  );
  where.querySelector("ul.after").replaceChildren(
    ...(moved ? [] : [item("not transferred:", "withheld")]),
    ...claim.labels.map((label) => item(named(label), moved ? gained(label) && "added" : "withheld")),
  );
}

function describe(pictures, claim) {
  const [query, match] = [`query ${claim.id}`, `match ${claim.match_id}`];
  const names = pictures.length === 2 ? [query, match] : [query, `${query}, registered on its match`, match];
  pictures.forEach((picture, n) => picture.setAttribute("aria-label", names[n]));
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
  recent = null;
  announce("");
  remember();
}

const withModifier = (event) => event.ctrlKey || event.metaKey || event.altKey;
const within = (place) => Math.min(Math.max(place, 0), shown.length - 1);

// Mouse and keys

function go(place) {
  if (!shown.length) return;
  recent = null;
  active = within(place);
  // The cells are sticky, rows are not. In narrow windows the head scrolls away.
  const head = Math.max(0, table.querySelector("th").getBoundingClientRect().bottom);
  const top = above.getBoundingClientRect().top + active * rowPx;
  if (top < head) scrollBy(0, top - head);
  else if (top + rowPx > innerHeight) scrollBy(0, top + rowPx - innerHeight);
  render();
  live.get(shown[active]).focus({ preventScroll: true });
}

table.addEventListener("keydown", (event) => {
  if (event.target.closest("thead, button") || withModifier(event)) return;
  const steps = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: shown.length - 1 };
  if (event.key in steps) go(steps[event.key]);
  else if (event.key === "Enter" && shown.length) open(active);
  else return;
  event.preventDefault();
});
body.addEventListener("focusin", (event) => { active = shown.indexOf(event.target.claim); });
body.addEventListener("click", (event) => {
  const { claim } = event.target.closest("tr");
  if (!claim) return;
  const button = event.target.closest("button");
  if (button) announce(give(claim, button.dataset.verdict));
  else if (getSelection().isCollapsed) open(shown.indexOf(claim));
});
table.tHead.addEventListener("click", (event) => {
  if (!event.target.matches(".sort")) return;
  const { key } = event.target.closest("th").dataset;
  sort.sign = key === sort.key ? -sort.sign : 1;
  sort.key = key;
  update();
});
filters.addEventListener("reset", () => {
  Object.assign(sort, START);
  setTimeout(update);
});
filters.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("input", (event) => {
  if (event.target.matches(".channel")) chooseChannel(Number(event.target.value));
  else if (event.target.form === filters) update();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || withModifier(event)) return;
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
large.addEventListener("close", () => {
  go(opened);
  remember();
});
document.getElementById("previous").addEventListener("click", () => open(opened - 1));
document.getElementById("next").addEventListener("click", () => open(opened + 1));
document.getElementById("close").addEventListener("click", () => large.close());
addEventListener("scroll", render, { passive: true });
new ResizeObserver(measure).observe(bar);
addEventListener("resize", measure);

// What this page knows nothing about has no column.
const labelled = submitted || rows.some((row) => row.labels.length > 0);
document.body.classList.toggle("without-before", !submitted);
document.body.classList.toggle("without-labels", !labelled);
document.getElementById("of-leaks").hidden = submitted || !labelled;
document.getElementById("of-submission").hidden = !submitted;
if (!submitted) document.getElementById("after").textContent = "Labels";

for (const select of document.querySelectorAll("select.channel")) {
  select.add(new Option("all", ALL));
  if (channels.length > 1) channels.forEach(({ name }, c) => select.add(new Option(name, c)));
}
