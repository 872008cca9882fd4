// What is reviewed, what was said about it, and the filters, which stand in the address.

export const PAGE_SIZE = 48;
export const DEFAULTS = {
  kind: "claim", order: "useful", relation: "", decision: "", verdict: "", min: "", max: "", text: "", page: "1", open: "",
};
const SAMPLE = "sample:";

export const queue = await (await fetch("/api/queue")).json();
export const itemOf = new Map(queue.items.map((item) => [item.name, item]));
const said = new Map(queue.items.map(({ name }) => [name, new Map()])); // name -> reviewer -> verdict
export const named = (label) => `${label} ${queue.labels[label] ?? ""}`.trim();

for (const item of queue.items) {
  const labels = [...item.labels, ...(item.before ?? [])].map(named);
  item.text = [item.query_id, item.match_id ?? "", item.reason, ...labels].join("\n").toLowerCase();
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

// Verdicts. The labels of an image are accepted, kept or edited.

export function judgementOf(item, row) {
  if (item.kind !== "labels") return row.verdict === "withdrawn" ? null : row.verdict;
  if (row.labels === null || row.labels === undefined) return null;
  const same = (labels) => [...labels].sort().join() === [...row.labels].sort().join();
  return same(item.labels) ? "accepted" : same(item.before) ? "kept" : "edited";
}

export function remember(row) {
  const item = itemOf.get(row.name);
  if (!item) return;
  const judgement = judgementOf(item, row);
  if (judgement) said.get(row.name).set(row.reviewer, { judgement, labels: row.labels });
  else said.get(row.name).delete(row.reviewer);
}

export const saidBy = (name, reviewer) => said.get(name).get(reviewer);

export function othersThan(name, reviewer) {
  return [...said.get(name)].filter(([one]) => one !== reviewer).map(([one, { judgement }]) => [one, judgement]);
}

export function standing(name) {
  const all = new Set([...said.get(name).values()].map(({ judgement, labels }) => judgement + (judgement === "edited" ? labels : "")));
  if (!all.size) return "";
  return all.size > 1 ? "disputed" : [...all][0].replace(/[\d,]+$/, "");
}

// Filters and orders

export const sampleOf = (order) => (order.startsWith(SAMPLE) ? order.slice(SAMPLE.length) : null);

export function shownItems(state, reviewer) {
  const sample = sampleOf(state.order);
  if (sample) return (queue.samples[sample] ?? []).map((name) => itemOf.get(name));
  return queue.items.filter(passing(state, reviewer)).sort(inOrder(state.order));
}

function passing({ kind, relation, decision, verdict, min, max, text }, reviewer) {
  const [low, high] = [min, max].map((bound) => (bound.trim() === "" ? null : Number(bound.replace(",", "."))));
  const wanted = text.trim().toLowerCase();
  return (item) =>
    item.kind === kind &&
    (!relation || item.relation === relation) &&
    (!decision || item.decision === decision) &&
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
};

function inOrder(order) {
  const compare = ORDERS[order] ?? ORDERS.useful;
  const byId = (a, b) => (a.query_id > b.query_id) - (a.query_id < b.query_id);
  return (a, b) => compare(a, b) || byId(a, b);
}
