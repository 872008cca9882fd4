// The grid: a page of cards, of which several can be selected and judged at once.

import { JUDGEMENTS, chip, chipsOf, standingInWords, standingOf } from "./claim.js";
import { MOST_ON_CARD, tileOf, tilesOf } from "./groups.js";
import { PAGE_SIZE } from "./state.js";

const $ = (id) => document.getElementById(id);

export const chosen = new Set(); // names
let cards = [];
let last = null; // the card that was selected last, for a range

export function pagesOf(shown) { return Math.max(1, Math.ceil(shown.length / PAGE_SIZE)); }

export function drawGrid(shown, page, look) {
  const items = shown.slice((page - 1) * PAGE_SIZE, page * PAGE_SIZE);
  cards = items.map((item) => cardOf(item, look));
  $("cards").replaceChildren(...cards.map(({ li }) => li));
  $("nothing").hidden = shown.length > 0;
  $("pager").hidden = pagesOf(shown) === 1;
  $("page-place").textContent = `Page ${page} of ${pagesOf(shown)}`;
  $("page-before").disabled = page === 1;
  $("page-after").disabled = page === pagesOf(shown);
  drawChosen();
}

function cardOf(item, look) {
  const li = document.createElement("li");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: chosen.has(item.name) });
  box.setAttribute("aria-label", `Select ${item.query_id}`);
  const open = Object.assign(document.createElement("button"), { type: "button", className: "open" });
  const ids = item.kind === "group" ? item.images.map((one) => one.image_id) : [item.query_id, item.match_id].filter(Boolean);
  open.append(...(item.kind === "group" ? tilesOf(item) : ids.map((id, n) => tileOf(id, item.version, `${n ? "Match" : "Query"} ${id}`))));
  const named = item.kind === "group" ? groupName(ids) : ids.join(" → ");
  open.append(Object.assign(document.createElement("span"), { className: "name", textContent: named }));
  const numbers = Object.assign(document.createElement("span"), { className: "soft number", textContent: item.confidence?.toFixed(3) ?? "" });
  numbers.title = item.kind === "labels" ? "suspicion" : "confidence";
  const line = Object.assign(document.createElement("div"), { className: "line" });
  line.append(box, ...chipsOf(item), numbers);
  const verdict = Object.assign(document.createElement("div"), { className: "verdict-line" });
  li.append(open, line, verdict);
  const card = { item, li, box, open, verdict };
  drawStanding(card, look);
  return card;
}

function groupName(ids) {
  const more = ids.length - MOST_ON_CARD;
  return ids.slice(0, MOST_ON_CARD).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function drawStanding({ item, li, verdict }, { reviewer, outbox }) {
  const standing = standingOf(item, reviewer, outbox);
  li.dataset.mine = standing.mine ?? "";
  li.dataset.state = standing.state;
  const shown = standing.mine ? [chip(standing.image ? `${standing.image} stays` : JUDGEMENTS[standing.mine], `said ${standing.mine}`)] : [];
  verdict.replaceChildren(...shown, Object.assign(document.createElement("span"), {
    className: "soft", textContent: standing.mine ? standingInWords(standing).replace(/^You: [^(]*\((.*?)\)/, "$1") : standingInWords(standing) || "no verdict yet",
  }));
}

export function updateStandings(look) { for (const card of cards) drawStanding(card, look); }

// Selection

export function choose(card, on, range = false) {
  const from = range && last ? cards.indexOf(last) : -1;
  const to = cards.indexOf(card);
  const some = from < 0 ? [card] : cards.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const one of some) {
    one.box.checked = on;
    chosen[on ? "add" : "delete"](one.item.name);
  }
  last = card;
  drawChosen();
}

export function chooseAll(on) {
  for (const card of cards) {
    card.box.checked = on;
    chosen[on ? "add" : "delete"](card.item.name);
  }
  drawChosen();
}

export function chooseNone() {
  chosen.clear();
  for (const { box } of cards) box.checked = false;
  drawChosen();
}

function drawChosen() {
  $("chosen-count").textContent = chosen.size ? `${chosen.size} selected` : "";
  $("choose-all").checked = cards.length > 0 && cards.every(({ item }) => chosen.has(item.name));
}

export const cardAt = (element) => cards.find(({ li }) => li.contains(element));
export const cardNamed = (name) => cards.find(({ item }) => item.name === name);
export const firstCard = () => cards[0];

// Move the focus by cards; up and down by a row of the grid.
export function step(card, key) {
  const across = cards.filter(({ li }) => li.offsetTop === cards[0].li.offsetTop).length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  const to = cards[cards.indexOf(card) + by];
  to?.open.focus();
}
