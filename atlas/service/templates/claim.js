// The view of one item: its pictures, what is known about it, and its verdict.

import { judgementOf, named, othersThan, queue, saidBy } from "./state.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const NUMBERS = {
  confidence: ["confidence", 3], similarity: ["similarity", 3], registration_score: ["registration score", 1],
  sibling_score: ["sibling score", 1], gain: ["expected gain", 4],
};
export const RELATIONS = { same_image: "copy", sibling: "sibling" };
export const KIND_OF = { claim: "claim", likely: "likely copy", labels: "labels" };
export const JUDGEMENTS = {
  same: "same picture", sibling: "sibling", different: "different", unsure: "unsure", disputed: "disputed",
  accepted: "suggested labels", kept: "labels kept", edited: "labels edited", policy: "policy kept", other: "another image",
};

export const viewer = new Viewer($("panes"), queue.channels, {
  onView: (scale) => { $("zoom").textContent = `${Math.round(100 * scale)}%`; },
});

export function chip(text, kind) {
  return Object.assign(document.createElement("span"), { className: `chip ${kind}`, textContent: text });
}

export function chipsOf(item) {
  if (item.kind === "labels") return [chip("labels", "labels")];
  if (item.kind === "group") {
    const many = chip(`${item.images.length} images`, "same_image");
    return item.label_sets > 1 ? [many, chip("different labels", "abstain")] : [many];
  }
  const moved = item.decision === "transfer";
  return [
    chip(item.kind === "likely" ? "likely copy" : RELATIONS[item.relation], item.relation),
    chip(moved ? "labels transferred" : "not transferred", item.decision),
  ];
}

export async function showItem(item, { place, count }) {
  const isPair = item.kind !== "labels";
  $("one-title").textContent = isPair ? `${item.query_id} → ${item.match_id}` : item.query_id;
  $("place").textContent = place < 0 ? `not among the ${count} shown` : `${place + 1} of ${count}`;
  $("chips").replaceChildren(...chipsOf(item));
  $("reason").textContent = item.reason;
  $("geometry").textContent = "";
  fillNumbers(item);
  fillLabels(item, isPair);
  $("overlay-tools").hidden = true;
  $("picture-problem").hidden = true;
  try {
    const registered = await viewer.load(item);
    if (!registered) return;
    $("geometry").textContent = registered.geometry;
    $("overlay-tools").hidden = !registered.aligned;
    $("with-blocks").hidden = !registered.blocks;
  } catch (error) {
    $("picture-problem").textContent = `The pictures cannot be shown: ${error.message}`;
    $("picture-problem").hidden = false;
  }
}

function fillNumbers(item) {
  const shown = Object.entries(NUMBERS).filter(([key]) => typeof item[key] === "number" && (key !== "gain" || item.before));
  $("numbers").replaceChildren(...shown.map(([key, [name, decimals]]) => {
    const row = document.createElement("div");
    const text = item.kind === "labels" && key === "confidence" ? "suspicion" : name;
    row.append(
      Object.assign(document.createElement("dt"), { textContent: text }),
      Object.assign(document.createElement("dd"), { textContent: item[key].toFixed(decimals) }),
    );
    return row;
  }));
}

function fillLabels(item, isPair) {
  $("before-title").textContent = isPair ? "Labels of the classifier alone" : "Labels now";
  $("after-title").textContent = isPair ? "Labels of the match" : "Suggested labels";
  const { before, labels } = item;
  $("labels-before").replaceChildren(...listed(before ?? null, (label) => !labels.includes(label) && "dropped"));
  $("labels-after").replaceChildren(...listed(labels, (label) => before && !before.includes(label) && "added"));
}

function listed(labels, kindOf) {
  const line = (text, kind) => Object.assign(document.createElement("li"), { textContent: text, className: kind || "" });
  if (labels === null) return [line("there is no submission yet", "soft")];
  return labels.length ? labels.map((label) => line(named(label), kindOf(label))) : [line("none", "soft")];
}

// What this reviewer and others say about an item, and whether it is on the server's disk.
export function standingOf(item, reviewer, outbox) {
  const pending = outbox.pending(item.name, reviewer);
  const mine = pending ? judgementOf(item, pending) : saidBy(item.name, reviewer)?.judgement ?? null;
  const state = !pending ? "saved" : outbox.offline ? "waiting" : "saving";
  const image = (pending ?? saidBy(item.name, reviewer))?.image;
  return { mine, image: mine && image, state: mine || pending ? state : "", others: othersThan(item.name, reviewer), withdrawn: pending && !mine };
}

const inWords = (judgement, image) => (image ? `${image} stays` : JUDGEMENTS[judgement]);

const STATES = { saved: "saved", waiting: "not saved yet", saving: "saving" };

export function standingInWords({ mine, image, state, others, withdrawn }) {
  const said = others.map(([who, ...what]) => `${who}: ${inWords(...what)}`);
  if (mine) said.unshift(`You: ${inWords(mine, image)} (${STATES[state]})`);
  else if (withdrawn) said.unshift(`You: withdrawn (${STATES[state]})`);
  return said.join("; ");
}

// Tools of the viewer

export function toggleChannel(channel) {
  const box = $("channels").querySelectorAll("input[type=checkbox]")[channel];
  if (!box) return;
  box.checked = !box.checked;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

export function allChannels() {
  for (const box of $("channels").querySelectorAll("input[type=checkbox]")) box.checked = true;
  for (const one of viewer.shown) one.on = true;
  viewer.colour();
}

export function toggleBlink(on = !viewer.blinking) {
  const shown = on && viewer.overlaid;
  viewer.blink(shown, $("opacity").value / 100);
  $("blink").setAttribute("aria-pressed", shown);
}

export function toggleBlocks() {
  $("blocks").checked = !$("blocks").checked;
  viewer.outlines = $("blocks").checked;
  viewer.draw();
}

queue.channels.forEach(({ name, colour }, channel) => {
  const row = document.createElement("div");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.backgroundColor = `rgb(${colour.map((share) => Math.round(share * 255)).join(" ")})`;
  const label = document.createElement("label");
  label.append(box, swatch, ` ${name} `, Object.assign(document.createElement("kbd"), { textContent: channel + 1 }));
  row.append(label, ...["black", "white"].map((bound) => slider(name, channel, bound)));
  box.addEventListener("input", () => {
    viewer.shown[channel].on = box.checked;
    viewer.colour();
  });
  $("channels").append(row);
});

function slider(name, channel, bound) {
  const label = Object.assign(document.createElement("label"), { className: "soft", textContent: `${bound} ` });
  const input = Object.assign(document.createElement("input"), {
    type: "range", min: bound === "black" ? 0 : 5, max: bound === "black" ? 95 : 200, value: bound === "black" ? 0 : 100,
  });
  input.setAttribute("aria-label", `${name}: count that is ${bound}, in percent of the usual white`);
  input.addEventListener("input", () => {
    viewer.shown[channel][bound] = input.value / 100;
    viewer.colour();
  });
  label.append(input);
  return label;
}

$("channels").append(Object.assign(document.createElement("button"), { type: "button", id: "usual-contrast", textContent: "Usual contrast" }));
$("usual-contrast").addEventListener("click", () => {
  for (const input of $("channels").querySelectorAll("input[type=range]")) input.value = input.max === "95" ? 0 : 100;
  for (const one of viewer.shown) Object.assign(one, { black: 0, white: 1 });
  allChannels();
});
$("opacity").addEventListener("input", () => {
  toggleBlink(false);
  viewer.setOpacity($("opacity").value / 100);
});
$("blink").addEventListener("click", () => toggleBlink());
$("blocks").addEventListener("input", () => {
  viewer.outlines = $("blocks").checked;
  viewer.draw();
});
$("zoom-in").addEventListener("click", () => viewer.zoomBy(1.5));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / 1.5));
$("fit").addEventListener("click", () => viewer.fit());
$("native").addEventListener("click", () => viewer.native());
