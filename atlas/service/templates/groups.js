// A group of copies: all its images, the one that stays, and pairs that people have parted.

import { chip, standingOf, viewer } from "./claim.js";
import { apartOf, named, othersThan } from "./state.js";

const $ = (id) => document.getElementById(id);
const TILE_PX = 160;
const HOVER_MS = 150;
const DIGITS = 9;
const POLICY = "Kept by the policy:";
export const MOST_ON_CARD = 3;

let copies = []; // { one, li, keep, box, chips } of the group that is shown
let shownImage = null;
let hovering; // the timer after which the image below the mouse is shown

const element = (name, more = {}, ...children) => {
  const made = Object.assign(document.createElement(name), more);
  made.append(...children);
  return made;
};

export function tileOf(id, version, alt) {
  return Object.assign(new Image(TILE_PX, TILE_PX), {
    loading: "lazy", decoding: "async", alt, src: `/pictures/tile?${new URLSearchParams({ id, v: version })}`,
  });
}

// The images on the card of a group in the grid: the one of the policy first.
export function tilesOf({ images, policy, version }) {
  const ids = images.map(({ image_id: id }) => id).sort((a, b) => (b === policy) - (a === policy));
  return ids.slice(0, MOST_ON_CARD).map((id) => tileOf(id, version, `Image ${id}`));
}

export function showGroup(item, { place, count, onKeep, onUnpart }) {
  $("one-title").textContent = `${item.images.length} images of one field`;
  $("place").textContent = place < 0 ? `not among the ${count} shown` : `${place + 1} of ${count}`;
  $("chips").replaceChildren(...(item.label_sets > 1 ? [chip("different labels", "abstain")] : []));
  $("group-reason").textContent = `The policy keeps ${item.policy}: ${item.reason}.`;
  $("overlay-tools").hidden = true;
  $("picture-problem").hidden = true;
  copies = item.images.map((one, n) => cardOf(item, one, n, onKeep));
  $("copies").replaceChildren(...copies.map(({ li }) => li));
  $("apart").onclick = ({ target }) => target.dataset.pair && onUnpart(...JSON.parse(target.dataset.pair));
  shownImage = null;
  lookAt(item, item.policy);
}

function cardOf(item, one, n, onKeep) {
  const { image_id: id } = one;
  const number = n < DIGITS ? [element("kbd", { textContent: n + 1 }), " "] : [];
  const keep = element("button", { type: "button", className: "open", disabled: Boolean(one.made_from) },
    tileOf(id, item.version, ""), element("span", { className: "name" }, ...number, `${id}`));
  keep.setAttribute("aria-label", `Keep ${id}`);
  keep.title = `Keep ${id}`;
  const box = element("input", { type: "checkbox" });
  box.setAttribute("aria-label", `Compare ${id}`);
  const facts = element("p", { className: "soft facts", id: `facts-${n}` }, [
    `${one.width_px} × ${one.height_px} px`, one.split, one.measured,
  ].filter(Boolean).join(" · "));
  const labels = element("p", { className: "facts", id: `labels-${n}` }, one.labels.map(named).join(", ") || "no labels");
  const chips = element("div", { className: "line" });
  const li = element("li", {}, keep, labels, facts, chips, element("label", { className: "line" }, box, " Compare"));
  keep.setAttribute("aria-describedby", `labels-${n} facts-${n}`);
  keep.addEventListener("click", () => onKeep(id));
  keep.addEventListener("focus", () => lookAt(item, id));
  box.addEventListener("input", () => lookAtCompared(item));
  li.addEventListener("pointerenter", ({ pointerType }) => {
    if (pointerType === "mouse") hovering = setTimeout(() => lookAt(item, id), HOVER_MS);
  });
  li.addEventListener("pointerleave", () => clearTimeout(hovering));
  return { one, li, keep, box, chips };
}

// Show an image at full resolution beside the one of the policy, or two that were selected.
async function lookAt(item, id, other = id === item.policy ? null : item.policy) {
  clearTimeout(hovering); // whoever uses the keys wants to see their image, wherever the mouse is
  const now = [item.name, id, other].join("\n");
  if (shownImage === now) return;
  shownImage = now;
  const captions = { query: id === item.policy ? POLICY : "Image", match: other === item.policy ? POLICY : "Image" };
  try {
    await viewer.load({ kind: "group", version: item.version, query_id: id, match_id: other, captions });
    $("picture-problem").hidden = true;
  } catch (error) {
    $("picture-problem").textContent = `The pictures cannot be shown: ${error.message}`;
    $("picture-problem").hidden = false;
  }
}

function lookAtCompared(item) {
  const pair = compared();
  if (pair.length === 2) lookAt(item, ...pair);
}

export function toggleCompared(item, copy) {
  copy.box.checked = !copy.box.checked;
  lookAtCompared(item);
}

export function updateGroup(item, { reviewer, outbox }) {
  const { image: mine, state } = standingOf(item, reviewer, outbox);
  const others = othersThan(item.name, reviewer);
  for (const { one: { image_id: id, made_from: source }, li, keep, chips } of copies) {
    const by = [...(id === mine ? [state === "saved" ? "You" : "You, not saved yet"] : []), ...others.filter(([, , image]) => image === id).map(([who]) => who)];
    keep.setAttribute("aria-pressed", id === mine);
    li.dataset.stays = id === mine;
    chips.replaceChildren(
      ...(by.length ? [chip(`stays: ${by.join(", ")}`, "said accepted")] : []),
      ...(id === item.policy ? [chip("policy", "same_image")] : []),
      ...(source ? [chip(`made from ${source}`, "abstain")] : []),
    );
  }
  const parted = apartOf(item, reviewer, outbox);
  $("apart").hidden = !parted.length;
  $("apart").replaceChildren(...parted.map(({ image, other, by, mine: isMine }) => {
    const line = element("li", {}, `${image} and ${other} are different: ${by.join(", ")} `);
    if (isMine) {
      const back = element("button", { type: "button", textContent: "Take back" });
      back.dataset.pair = JSON.stringify([image, other]);
      back.setAttribute("aria-label", `Take back that ${image} and ${other} are different`);
      line.append(back);
    }
    return line;
  }));
}

// Moving and choosing by keys

export const copyNumber = (n) => copies[n]?.one;
export const copyAt = (target) => copies.find(({ li }) => li.contains(target));
export const compared = () => copies.filter(({ box }) => box.checked).map(({ one }) => one.image_id);
export const focusCopy = () => copies.find(({ keep }) => !keep.disabled)?.keep.focus();

export function stepCopy(copy, key) {
  const across = copies.filter(({ li }) => li.offsetTop === copies[0].li.offsetTop).length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  let at = copies.indexOf(copy) + by;
  while (copies[at]?.keep.disabled) at += Math.sign(by);
  copies[at]?.keep.focus();
}

export function compareNone() { for (const { box } of copies) box.checked = false; }
