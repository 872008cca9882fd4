// The page of a review: what is shown, what was said, and the keys.

import {
  JUDGEMENTS, allChannels, showItem, standingInWords, standingOf, toggleBlink, toggleBlocks, toggleChannel, viewer,
} from "./claim.js";
import {
  cardAt, cardNamed, choose, chooseAll, chooseNone, chosen, drawGrid, firstCard, pagesOf, step, updateStandings,
} from "./grid.js";
import { compareNone, compared, copyAt, copyNumber, focusCopy, showGroup, stepCopy, toggleCompared, updateGroup } from "./groups.js";
import { Outbox } from "./outbox.js";
import { planesOf } from "./planes.js";
import {
  DEFAULTS, PAGE_SIZE, itemOf, named, queue, readAddress, remember, saidBy, sampleOf, shownItems, standing, writeAddress,
} from "./state.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 3000;
const KINDS = { claim: "Claims", likely: "Likely copies", labels: "Labels", group: "Groups" };
const ACTIONS = [ // key, name, what it says about a pair, what it says about labels
  ["a", "Accept"], ["s", "Sibling"], ["c", "Same picture"], ["r", "Reject"], ["u", "Unsure"], ["e", "Edit"], ["z", "Undo"],
];
const KEYS = {
  a: "accept: a copy is the same picture, a sibling is a sibling, suggested labels are right",
  s: "sibling: another picture of the same antibody or specimen", c: "the same picture",
  r: "reject: the pictures are different; the labels are kept", u: "unsure", e: "edit the labels",
  z: "undo the last verdict", "← →": "previous and next", "1–9": "show or hide a channel", 0: "show all channels",
  b: "blink", o: "outlines of agreeing blocks", "+ − f": "zoom in, zoom out, fit", "Shift + arrows": "move the picture",
  x: "select (in the grid)", g: "grid", "/": "search", "?": "this help",
};
const KEYS_OF_GROUPS = {
  a: "keep the image of the policy", "1–9": "keep this image", "arrows": "move to an image", Enter: "keep it",
  x: "select an image to compare", r: "the two selected images are different", "n p": "next and previous group",
};

const outbox = new Outbox(queue.run);
let state = readAddress();
let reviewer = stored("name") ?? "";
let place = { verdicts: 0, corrections: 0, choices: 0 };
let shown = [];
const history_ = []; // the rows that take back what this page said, the latest last

function stored(name) {
  try { return localStorage.getItem(`atlas-review-${name}`); } catch { return null; }
}
function store(name, value) {
  try { localStorage.setItem(`atlas-review-${name}`, value); } catch { /* without storage */ }
}

const look = () => ({ reviewer, outbox });
const opened = () => itemOf.get(state.open);
const placeOfOpened = () => shown.findIndex(({ name }) => name === state.open);
function announce(text) { $("live").textContent = text; }

// What is shown

function update({ push = false, keepList = false } = {}) {
  writeAddress(state, { push });
  const sample = sampleOf(state.order);
  if (!keepList) shown = shownItems(state, reviewer);
  const page = Math.min(Math.max(1, Number.parseInt(state.page) || 1), pagesOf(shown));
  $("count").textContent = sample ? `${shown.length} in the sample` : `${shown.length} of ${queue.items.filter(({ kind }) => kind === state.kind).length}`;
  for (const button of $("kinds").children) button.setAttribute("aria-current", button.dataset.kind === state.kind ? "true" : "false");
  for (const field of $("filters").elements) {
    if (field.name && field.name !== "order") field.disabled = Boolean(sample);
  }
  for (const one of document.querySelectorAll("[data-pairs]")) one.hidden = ["labels", "group"].includes(state.kind);
  for (const one of document.querySelectorAll("[data-groups]")) one.hidden = state.kind !== "group";
  for (const one of document.querySelectorAll("[data-scored]")) one.hidden = state.kind === "group";
  $("certificate").hidden = !sample;
  const item = opened();
  $("grid").hidden = Boolean(item);
  $("one").hidden = !item;
  if (item) openNow(item);
  else {
    toggleBlink(false);
    drawGrid(shown, page, look());
  }
  drawStandings();
}

function openNow(item) {
  const at = placeOfOpened();
  document.title = `${item.query_id} · review`;
  $("one").dataset.kind = item.kind;
  drawButtons($("one-buttons"), item.relation ?? item.kind);
  toggleBlink(false);
  if (item.kind === "group") return showGroup(item, { place: at, count: shown.length, onKeep: (id) => keep(item, id), onUnpart: (...pair) => part(item, pair, false) });
  showItem(item, { place: at, count: shown.length }).then(() => {
    const next = shown[at + 1];
    if (next && opened() === item) for (const id of [next.query_id, next.match_id]) if (id) planesOf(id, next.version, queue.channels).catch(() => {});
  });
}

function drawStandings() {
  const item = opened();
  if (item) {
    const found = standingOf(item, reviewer, outbox);
    $("standing").textContent = standingInWords(found) || "no verdict yet";
    $("standing").dataset.state = found.state;
    for (const button of $("one-buttons").children) {
      const says = judgementsOf(item, button.dataset.key);
      button.setAttribute("aria-pressed", Boolean(found.mine && says === found.mine));
    }
    if (item.kind === "group") updateGroup(item, look());
  } else updateStandings(look());
  const waiting = outbox.waiting.size;
  $("sending").textContent = waiting ? `${waiting} not saved yet` : "All verdicts saved";
  $("sending").dataset.state = waiting ? "waiting" : "saved";
  $("problem").hidden = !outbox.offline;
  const unsent = waiting ? ` ${waiting === 1 ? "1 verdict is" : `${waiting} verdicts are`} kept in this browser and will be sent again.` : "";
  $("problem").textContent = outbox.offline ? `Not saved: ${outbox.why}.${unsent}` : "";
}

function drawButtons(where, relation) {
  const known = (key) => (relation === "group" ? "arz".includes(key) : relation === "labels" ? !"scu".includes(key) : key !== "e" && (key !== "c" || relation !== "same_image"));
  const texts = { same_image: { a: "Same picture" }, sibling: { a: "Sibling", s: null }, labels: { a: "Accept suggested", r: "Keep labels" },
    group: { a: "Keep policy's image", r: where.id === "one-buttons" ? "Two are different" : null } };
  where.replaceChildren(...ACTIONS.filter(([key]) => known(key) && texts[relation]?.[key] !== null).map(([key, name]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `${texts[relation]?.[key] ?? name} ` });
    button.dataset.key = key;
    button.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    button.addEventListener("click", () => act(key));
    return button;
  }));
}

// Verdicts

function judgementsOf(item, key) {
  if (item.kind === "labels") return { a: "accepted", r: "kept", e: "edited" }[key];
  if (item.kind === "group") return { a: "policy" }[key];
  return { a: item.relation === "sibling" ? "sibling" : "same", s: "sibling", c: "same", r: "different", u: "unsure" }[key];
}

function rowOf(item, key, labels) {
  const row = { name: item.name, version: item.version, reviewer };
  if (item.kind === "group") return key === "z" ? { ...row, verdict: "withdrawn", image: chosenOf(item) } : { ...row, verdict: "kept", image: item.policy };
  if (item.kind !== "labels") return { ...row, verdict: key === "z" ? "withdrawn" : judgementsOf(item, key) };
  return { ...row, labels: key === "z" ? null : labels ?? (key === "a" ? item.labels : item.before) };
}

function act(key) {
  if (!reviewer) return askName();
  if (key === "z") return undo();
  const focused = cardAt(document.activeElement);
  const items = opened() ? [opened()] : chosen.size ? [...chosen].map((name) => itemOf.get(name)) : focused ? [focused.item] : [];
  if (!items.length) return announce("Select a claim first.");
  if (key === "r" && opened()?.kind === "group") return partCompared(opened());
  if (key === "e") return items[0].kind === "labels" ? edit(items[0]) : null;
  judge(items.filter((item) => judgementsOf(item, key)), key);
}

function judge(items, key, labels) {
  if (!items.length) return;
  outbox.add(items.map((item) => rowOf(item, key, labels)));
  history_.push(items.map((item) => rowOf(item, "z")));
  const text = JUDGEMENTS[judgementsOf(items[0], key)];
  announce(`${items.length === 1 ? items[0].query_id : `${items.length} items`}: ${text}`);
  if (opened()) go(1);
  else chooseNone();
}

// Groups. Choosing an image moves to the next group, and parting two images does not.

const chosenOf = (item) => standingOf(item, reviewer, outbox).image ?? item.policy;

function keep(item, image) {
  if (!reviewer) return askName();
  const row = { name: item.name, version: item.version, reviewer, image };
  outbox.add([{ ...row, verdict: "kept" }]);
  history_.push([{ ...row, verdict: "withdrawn" }]);
  announce(`${image} stays`);
  go(1);
}

function partCompared(item) {
  const pair = compared();
  if (pair.length !== 2) return announce("Select the two images that are different first.");
  part(item, pair, true);
  compareNone();
}

function part(item, [image, other], apart) {
  if (!reviewer) return askName();
  const row = { name: item.name, version: item.version, reviewer, image, other };
  outbox.add([{ ...row, verdict: apart ? "different" : "withdrawn" }]);
  if (apart) history_.push([{ ...row, verdict: "withdrawn" }]);
  announce(apart ? `${image} and ${other}: different` : `Withdrawn: ${image} and ${other}`);
}

function undo() {
  const said = [opened(), cardAt(document.activeElement)?.item].filter((item) => item && saidBy(item.name, reviewer));
  const rows = history_.pop() ?? said.map((item) => rowOf(item, "z"));
  if (!rows.length) return announce("There is nothing to undo.");
  outbox.add(rows);
  announce(`Withdrawn: ${rows.length === 1 ? itemOf.get(rows[0].name).query_id : `${rows.length} verdicts`}`);
  if (opened() && rows.length === 1 && rows[0].name !== state.open) open(rows[0].name);
}

function edit(item) {
  const right = new Set(saidBy(item.name, reviewer)?.labels ?? item.labels);
  $("edit-find").value = "";
  $("edit-labels").replaceChildren($("edit-labels").firstElementChild, ...queue.labels.map((_, label) => {
    const line = document.createElement("label");
    line.append(Object.assign(document.createElement("input"), { type: "checkbox", value: label, checked: right.has(label) }), ` ${named(label)}`);
    return line;
  }));
  $("edit").querySelector("[value=save]").disabled = !right.size;
  // Not when the dialog says that it was closed, which is after a key that was pressed in the meantime.
  $("edit").querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    $("edit").close();
    const labels = [...$("edit-labels").querySelectorAll("input:checked")].map(({ value }) => Number(value));
    if (event.submitter?.value === "save") judge([item], "e", labels);
  };
  $("edit").showModal();
}

$("edit-labels").addEventListener("input", () => { // an image must have a label
  $("edit").querySelector("[value=save]").disabled = !$("edit-labels").querySelector("input:checked");
});
$("edit-find").addEventListener("input", () => {
  const wanted = $("edit-find").value.trim().toLowerCase();
  for (const line of $("edit-labels").querySelectorAll("label")) line.hidden = !line.textContent.toLowerCase().includes(wanted);
});

// Moving

function open(name, { push = false } = {}) {
  state.open = name;
  update({ push, keepList: true });
  if (push) scrollTo(0, 0);
  $("one-title").focus({ preventScroll: true });
}

function go(by) {
  const at = placeOfOpened();
  const next = shown[at < 0 ? 0 : at + by];
  if (next) open(next.name);
  else announce(by > 0 ? "This is the last one." : "This is the first one.");
}

function toGrid() {
  const { open: name } = state;
  const at = placeOfOpened();
  if (at >= 0) state.page = String(Math.floor(at / PAGE_SIZE) + 1);
  state.open = "";
  document.title = `Review of ${queue.title}`;
  update({ push: true, keepList: true });
  (cardNamed(name) ?? firstCard())?.open.focus();
}

function goPage(by) {
  state.page = String((Number.parseInt(state.page) || 1) + by);
  update({ push: true, keepList: true });
  scrollTo(0, 0);
  firstCard()?.open.focus({ preventScroll: true });
}

function goSample() {
  const next = shown.find(({ name }) => !standing(name) && !outbox.pending(name, reviewer));
  if (next) open(next.name, { push: true });
  else announce("Every claim of the sample has a verdict.");
}

// The certificate

let certifying = 0;
async function certify() {
  const sample = sampleOf(state.order);
  if (!sample) return;
  const turn = ++certifying;
  try {
    const found = (await (await fetch("/api/certificates")).json())[sample];
    if (turn !== certifying) return;
    $("certificate-words").textContent = found ? found.words : "There is no claim to certify.";
  } catch { /* the poll says that the server cannot be reached */ }
}

// What others say

async function poll() {
  try {
    const answer = await fetch(`/api/verdicts?${new URLSearchParams(place)}`);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const news = await answer.json();
    place = news.place;
    news.rows.forEach(remember);
    const back = outbox.offline && !outbox.waiting.size;
    if (back) outbox.offline = false;
    if (news.rows.length) certify();
    if (news.rows.length || back) drawStandings();
    if (outbox.waiting.size) outbox.send();
  } catch (error) {
    outbox.offline = true;
    outbox.why = error instanceof TypeError ? "the server cannot be reached" : error.message;
    drawStandings();
  }
}

outbox.addEventListener("change", drawStandings);
outbox.addEventListener("saved", ({ detail }) => {
  detail.forEach(remember);
  drawStandings();
  certify();
});
outbox.addEventListener("refused", ({ detail }) => {
  $("problem").hidden = false;
  $("problem").textContent = `Not saved: ${[...new Set(detail)].join("; ")}`;
  announce($("problem").textContent);
});

// The reviewer

function askName() {
  $("reviewer-name").value = reviewer || queue.reviewer;
  $("reviewer").showModal();
  $("reviewer-name").select();
}
// Not when the dialog says that it was closed, which is after a key that was pressed in the meantime.
$("reviewer").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("reviewer").close();
  const name = $("reviewer-name").value.trim();
  if (name) {
    reviewer = name;
    store("name", name);
  }
  $("who").textContent = `Reviewer: ${reviewer || "?"}`;
  drawStandings();
});
$("who").addEventListener("click", askName);

// Filters

function options(select, entries) { select.replaceChildren(...entries.map(([value, text]) => new Option(text, value))); }

function fillFilters() {
  const samples = Object.entries(queue.samples).filter(([, names]) => names.length);
  const orders = {
    labels: [["useful", "most suspicious first"], ["low", "least suspicious first"]],
    group: [["useful", "different labels first"], ["large", "largest first"], ["ids", "by id"]],
  }[state.kind] ?? [
      ["useful", "most useful first"], ["low", "least certain first"], ["high", "most certain first"],
      ...(state.kind === "claim" ? samples.map(([relation]) => [`sample:${relation}`, `random sample of ${relation === "sibling" ? "siblings" : "copies"}`]) : []),
    ];
  const verdicts = {
    labels: ["accepted", "kept", "edited", "disputed"], group: ["policy", "other", "disputed"],
  }[state.kind] ?? ["same", "sibling", "different", "unsure", "disputed"];
  options($("filters").elements.order, orders);
  options($("filters").elements.verdict, [["", "all"], ["none", "none yet"], ["not-mine", "none of mine"], ...verdicts.map((one) => [one, JUDGEMENTS[one]])]);
  $("confidence-name").textContent = state.kind === "labels" ? "Suspicion" : "Confidence";
  for (const field of $("filters").elements) if (field.name) field.value = state[field.name];
  if (!$("filters").elements.order.value) state.order = $("filters").elements.order.value = "useful";
  drawButtons($("grid-buttons"), ["labels", "group"].includes(state.kind) ? state.kind : "");
}

$("filters").addEventListener("input", (event) => {
  if (!event.target.name) return;
  state = { ...state, [event.target.name]: event.target.value, page: "1", open: "" };
  chooseNone();
  update();
  certify();
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", (event) => {
  event.preventDefault();
  state = { ...DEFAULTS, kind: state.kind };
  fillFilters();
  update();
});
for (const [kind, text] of Object.entries(KINDS)) {
  const count = queue.items.filter((item) => item.kind === kind).length;
  if (kind === "group" && !count) continue;
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: `${text} (${count})` });
  button.dataset.kind = kind;
  button.addEventListener("click", () => {
    state = { ...DEFAULTS, kind };
    chooseNone();
    fillFilters();
    update({ push: true });
  });
  $("kinds").append(button);
}

// Mouse

$("cards").addEventListener("click", (event) => {
  const card = cardAt(event.target);
  if (!card) return;
  if (event.target === card.box) choose(card, card.box.checked, event.shiftKey);
  else if (event.target.closest(".open")) open(card.item.name, { push: true });
});
$("choose-all").addEventListener("input", ({ target }) => chooseAll(target.checked));
$("page-before").addEventListener("click", () => goPage(-1));
$("page-after").addEventListener("click", () => goPage(1));
$("to-grid").addEventListener("click", toGrid);
$("before").addEventListener("click", () => go(-1));
$("after").addEventListener("click", () => go(1));
$("next-of-sample").addEventListener("click", goSample);
$("help-button").addEventListener("click", () => $("help").showModal());

// Keys

const WITH_ARROWS = "input[type=range], input[type=text], input[type=search], input:not([type]), select, textarea";
const TYPED_IN = "input[type=text], input[type=search], input:not([type]), select, textarea";

const ONE = {
  ArrowLeft: () => go(-1), ArrowRight: () => go(1), g: toGrid, Escape: toGrid, b: () => toggleBlink(), o: toggleBlocks, f: () => viewer.fit(),
  "+": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5), 0: allChannels,
};
const MOVES = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return false;
  const { key, target } = event;
  const arrow = key.startsWith("Arrow");
  const group = opened()?.kind === "group" ? opened() : null;
  if (target.matches(arrow ? WITH_ARROWS : TYPED_IN)) return false;
  if (!arrow && key !== "Escape" && stored("keys") === "off") return false;
  if (ACTIONS.some(([one]) => one === key)) act(key);
  else if (key === "?") $("help").showModal();
  else if (key === "/") $("filters").elements.text.focus();
  else if (opened() && event.shiftKey && key in MOVES) viewer.panBy(...MOVES[key]);
  else if (group && pressedInGroup(group, key)) return true;
  else if (opened() && key in ONE) ONE[key]();
  else if (opened() && /^[1-9]$/.test(key)) toggleChannel(key - 1);
  else if (!opened() && arrow) {
    const card = cardAt(document.activeElement);
    if (card) step(card, key);
    else if (key === "ArrowRight" || key === "ArrowDown") firstCard()?.open.focus();
    else return false;
  } else if (!opened() && key === "x") {
    const card = cardAt(document.activeElement);
    if (card) choose(card, !card.box.checked);
  } else if (!opened() && key === "g") firstCard()?.open.focus();
  else return false;
  return true;
}

function pressedInGroup(group, key) {
  const copy = copyAt(document.activeElement);
  if (/^[0-9]$/.test(key)) {
    const one = copyNumber(key - 1);
    if (one && !one.made_from) keep(group, one.image_id);
    else announce(one ? `${one.image_id} was made from ${one.made_from}, so it cannot replace that image.` : "There is no such image.");
  } else if (key.startsWith("Arrow")) {
    if (copy) stepCopy(copy, key);
    else focusCopy();
  } else if (key === "n" || key === "p") go(key === "n" ? 1 : -1);
  else if (key === "x" && copy) toggleCompared(group, copy);
  else return "bo".includes(key);
  return true;
}

document.addEventListener("keydown", (event) => { if (pressed(event)) event.preventDefault(); });
function listKeys(where, keys) {
  for (const [key, text] of Object.entries(keys)) {
    const row = document.createElement("div");
    const name = document.createElement("dt");
    name.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    row.append(name, Object.assign(document.createElement("dd"), { textContent: text }));
    where.append(row);
  }
}
listKeys($("keys"), KEYS);
if (queue.items.some(({ kind }) => kind === "group")) listKeys($("keys-of-groups"), KEYS_OF_GROUPS);
else for (const one of document.querySelectorAll("[data-group-keys]")) one.hidden = true;
$("keys-on").checked = stored("keys") !== "off";
$("keys-on").addEventListener("input", ({ target }) => store("keys", target.checked ? "on" : "off"));

// The start

addEventListener("popstate", () => {
  state = readAddress();
  fillFilters();
  update();
});
addEventListener("beforeunload", (event) => { if (outbox.waiting.size) event.preventDefault(); });
document.title = $("title").textContent = `Review of ${queue.title}`;
$("who").textContent = `Reviewer: ${reviewer || "?"}`;
fillFilters();
await poll(); // filters need the verdicts
update();
certify();
outbox.send();
setInterval(() => { if (!document.hidden) poll(); }, POLL_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
document.body.dataset.ready = "yes";
if (!reviewer) askName();
