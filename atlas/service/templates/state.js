// What is reviewed, what was said about it, and the filters, which stand in the address.

export const PAGE_SIZE = 48;
export const DEFAULTS = {
  kind: "claim", order: "useful", relation: "", decision: "", labels: "", verdict: "", min: "", max: "", text: "", page: "1", open: "",
};
const SAMPLE = "sample:";

export const queue = await (await fetch("/api/queue")).json();
export const itemOf = new Map(queue.items.map((item) => [item.name, item]));
const said = new Map(queue.items.map(({ name }) => [name, new Map()])); // name -> reviewer -> verdict
const parted = new Map(); // name of a group -> two images -> reviewer -> verdict
DEFAULTS.kind = queue.items[0]?.kind ?? DEFAULTS.kind; // a run may have groups and no claims
export const named = (label) => `${label} ${queue.labels[label] ?? ""}`.trim();

for (const item of queue.items) {
  const images = item.images ?? [];
  const labels = [...(item.labels ?? []), ...(item.before ?? []), ...images.flatMap((one) => one.labels)];
  const ids = [item.query_id, item.match_id ?? "", ...images.map(({ image_id: id }) => id)];
  item.text = [...ids, item.reason, ...new Set(labels.map(named))].join("\n").toLowerCase();
}

// The address

export function readAddress() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, usual]) => [key, given.get(key) ?? usual]));
}

export function writeAddress(state, { push = false } = {}) {
  const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  const text = new URLSearchParams(changed).toString();
  const address = text ? `?${text}` : location.pathname;
  if (location.search === (text ? address : "")) return;
  history[push ? "pushState" : "replaceState"](null, "", address);
}

// Verdicts. The labels of an image are accepted, kept or edited. Of a group, the image of the policy or another one stays.

export function judgementOf(item, row) {
  if (item.kind === "group") return row.verdict === "withdrawn" ? null : row.image === item.policy ? "policy" : "other";
  if (item.kind !== "labels") return row.verdict === "withdrawn" ? null : row.verdict;
  if (row.labels === null || row.labels === undefined) return null;
  const same = (labels) => [...labels].sort().join() === [...row.labels].sort().join();
  return same(item.labels) ? "accepted" : same(item.before) ? "kept" : "edited";
}

export function remember(row) {
  const item = itemOf.get(row.name);
  if (!item) return;
  if (row.other) {
    const key = JSON.stringify([row.image, row.other].sort());
    if (!parted.has(row.name)) parted.set(row.name, new Map());
    if (!parted.get(row.name).has(key)) parted.get(row.name).set(key, new Map());
    parted.get(row.name).get(key).set(row.reviewer, row.verdict);
    return;
  }
  const judgement = judgementOf(item, row);
  if (judgement) said.get(row.name).set(row.reviewer, { judgement, labels: row.labels, image: row.image });
  else said.get(row.name).delete(row.reviewer);
}

export const saidBy = (name, reviewer) => said.get(name).get(reviewer);

export function othersThan(name, reviewer) {
  return [...said.get(name)].filter(([one]) => one !== reviewer).map(([one, { judgement, image }]) => [one, judgement, image]);
}

// The pairs of a group that people call different, with their names; what is not saved yet counts.
export function apartOf(item, reviewer, outbox) {
  const all = new Map([...(parted.get(item.name) ?? [])].map(([key, by]) => [key, new Map(by)]));
  for (const row of outbox.waiting.values()) {
    if (row.name !== item.name || !row.other) continue;
    const key = JSON.stringify([row.image, row.other].sort());
    all.set(key, (all.get(key) ?? new Map()).set(row.reviewer, row.verdict));
  }
  return [...all].map(([key, verdicts]) => {
    const by = [...verdicts].filter(([, verdict]) => verdict === "different").map(([who]) => who);
    const mine = by.includes(reviewer);
    const [image, other] = JSON.parse(key);
    return { image, other, mine, by: by.map((who) => (who === reviewer ? "You" : who)) };
  }).filter(({ by }) => by.length);
}

export function standing(name) {
  const all = [...said.get(name).values()];
  const different = new Set(all.map(({ judgement, labels, image }) => JSON.stringify([judgement, judgement === "edited" ? labels : null, image])));
  return different.size > 1 ? "disputed" : all[0]?.judgement ?? "";
}

// Filters and orders

export const sampleOf = (order) => (order.startsWith(SAMPLE) ? order.slice(SAMPLE.length) : null);

export function shownItems(state, reviewer) {
  const sample = sampleOf(state.order);
  if (sample) return (queue.samples[sample] ?? []).map((name) => itemOf.get(name));
  return queue.items.filter(passing(state, reviewer)).sort(inOrder(state.order));
}

function passing({ kind, relation, decision, labels, verdict, min, max, text }, reviewer) {
  const [low, high] = [min, max].map((bound) => (bound.trim() === "" ? null : Number(bound.replace(",", "."))));
  const wanted = text.trim().toLowerCase();
  return (item) =>
    item.kind === kind &&
    (!relation || item.relation === relation) &&
    (!decision || item.decision === decision) &&
    (!labels || item.label_sets > 1) &&
    (low === null || !(item.confidence < low)) &&
    (high === null || !(item.confidence > high)) &&
    item.text.includes(wanted) &&
    (!verdict || hasVerdict(item.name, verdict, reviewer));
}

function hasVerdict(name, wanted, reviewer) {
  if (wanted === "none") return standing(name) === "";
  if (wanted === "not-mine") return !saidBy(name, reviewer);
  return standing(name) === wanted;
}

const ORDERS = {
  useful: (a, b) => b.usefulness - a.usefulness,
  low: (a, b) => a.confidence - b.confidence,
  high: (a, b) => b.confidence - a.confidence,
  large: (a, b) => b.images.length - a.images.length,
  ids: () => 0,
};

function inOrder(order) {
  const compare = ORDERS[order] ?? ORDERS.useful;
  const byId = (a, b) => (a.query_id > b.query_id) - (a.query_id < b.query_id);
  return (a, b) => compare(a, b) || byId(a, b);
}
