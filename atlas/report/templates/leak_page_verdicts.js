// Verdicts. Those of the run lie in the page, and those given here in the storage of the browser, an entry for each pair of
// pictures and reviewer. The latest one of each reviewer counts, as in atlas/dataset/verdicts.py.

const KEYS = { a: "accept", r: "reject", s: "sibling", c: "same", u: "unsure", z: "undo" };
const WORDS = { same: "same picture", sibling: "siblings", different: "different", unsure: "unsure" };
const COLUMNS = ["query_id", "match_id", "verdict", "reviewer", "time", "token", "query_key", "match_key"];
// Reports of a run share their verdicts, and reports of different runs do not.
const RUN = `atlas verdict ${new URL("..", location.href).pathname} `;
const NAME = "atlas reviewer";
const reviewer = document.getElementById("reviewer");
const mine = new Map(); // name of an entry -> what was said here
let kept = storage();
let recent = null; // the claim of a verdict after which the next claim was shown

function storage() {
  try {
    localStorage.setItem(`${RUN}?`, "");
    localStorage.removeItem(`${RUN}?`);
    return localStorage;
  } catch {
    return null; // a browser may keep nothing for files, or nothing at all
  }
}

function keep(name, text) {
  try {
    kept?.setItem(name, text);
  } catch {
    kept = null; // it is full
  }
}

function readKept() {
  mine.clear();
  for (const name of Object.keys(kept ?? {}).filter((one) => one.startsWith(RUN))) {
    try {
      mine.set(name, JSON.parse(kept.getItem(name)));
    } catch {
      kept.removeItem(name);
    }
  }
}

// What stands

const entryOf = (claim, by) => `${RUN}${claim.query_key} ${claim.match_key} ${by}`;

function saidHere(claim) {
  const start = entryOf(claim, "");
  return claim.reviewers.map((by) => mine.get(start + by)).filter(Boolean);
}

function said(claim) {
  const latest = new Map(claim.verdicts.map((one) => [one.reviewer, one]));
  for (const one of saidHere(claim)) {
    const other = latest.get(one.reviewer);
    if (!other || other.time <= one.time) latest.set(one.reviewer, one);
  }
  return [...latest.values()].filter((one) => one.verdict !== "withdrawn");
}

function standing(claim) {
  const different = new Set(said(claim).map((one) => one.verdict));
  return different.size > 1 ? "unsure" : [...different][0] ?? null;
}

function inWords(claim) {
  const all = said(claim);
  if (!all.length) return "";
  const by = (one) => (one.reviewer ? `${WORDS[one.verdict]} (${one.reviewer})` : WORDS[one.verdict]);
  const different = new Set(all.map((one) => one.verdict)).size > 1;
  return `${different ? "reviewers disagree: " : ""}${all.map(by).join(", ")}`;
}

function showVerdict(where, claim) {
  const stands = standing(claim);
  const accepting = judgement(claim, "accept");
  for (const button of where.querySelectorAll("[aria-pressed]")) {
    const { verdict } = button.dataset;
    button.hidden = verdict === accepting; // to accept the claim says the same
    button.setAttribute("aria-pressed", !button.hidden && judgement(claim, verdict) === stands);
  }
  const words = where.querySelector(".stands");
  words.textContent = inWords(claim);
  words.title = words.textContent;
}

// Giving verdicts

function judgement(claim, verdict) {
  if (verdict === "accept") return claim.relation === "same_image" ? "same" : "sibling";
  return verdict === "reject" ? "different" : verdict;
}

// Give a verdict, and return what happened in words.
function give(claim, verdict) {
  if (verdict === "undo") return takeBack(claim);
  add(claim, judgement(claim, verdict), namedReviewer());
  return `${claim.id}: ${WORDS[judgement(claim, verdict)]}`;
}

function takeBack(claim) {
  const all = said(claim);
  const own = all.filter((one) => saidHere(claim).includes(one)).sort((a, b) => (a.time < b.time ? 1 : -1))[0];
  const found = own ?? all.find((one) => one.reviewer === namedReviewer());
  if (found) {
    add(claim, "withdrawn", found.reviewer);
    return `${claim.id}: the verdict is taken back`;
  }
  if (!all.length) return `${claim.id} has no verdict to take back`;
  return `${all[0].reviewer || "Somebody without a name"} gave this verdict, and only the same reviewer can take it back`;
}

function add(claim, verdict, by) {
  if (!claim.reviewers.includes(by)) claim.reviewers.push(by);
  const { id: query_id, match_id, query_key, match_key } = claim;
  const time = new Date().toISOString().replace("Z", "+00:00");
  put(entryOf(claim, by), { query_id, match_id, verdict, reviewer: by, time, token: newToken(), query_key, match_key });
  refresh();
}

function put(name, row) {
  mine.set(name, row);
  keep(name, JSON.stringify(row));
}

function newToken() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function announce(text) {
  for (const status of document.querySelectorAll(".status")) status.textContent = text;
}

function refresh() {
  for (const [claim, tr] of live) showVerdict(tr, claim);
  if (large.open) showVerdict(large, shown[opened]);
  const all = exported();
  const fresh = all.filter((one) => !one.exported).length;
  const judged = rows.filter(standing).length;
  document.getElementById("given").textContent = `${judged} of ${rows.length} claims have a verdict, ${fresh} not exported`;
  document.getElementById("export").disabled = !all.length;
  document.getElementById("unkept").hidden = kept !== null;
}

// The name of the reviewer

function namedReviewer() {
  return reviewer.value.trim();
}

// What was said before a name was typed, and is not exported yet, gets the name.
function nameVerdicts() {
  const by = namedReviewer();
  keep(NAME, by);
  for (const claim of by ? rows : []) {
    const before = mine.get(entryOf(claim, ""));
    if (!before || before.exported) continue;
    forget(entryOf(claim, ""));
    if (!claim.reviewers.includes(by)) claim.reviewers.push(by);
    if (!mine.has(entryOf(claim, by))) put(entryOf(claim, by), { ...before, reviewer: by });
  }
  refresh();
}

function forget(name) {
  mine.delete(name);
  kept?.removeItem(name);
}

// The file

function exported() {
  return rows.flatMap(saidHere).sort((a, b) => (a.time > b.time) - (a.time < b.time));
}

const LETTERS_BEHIND_SIGN = /^(?:[\p{L}\p{N}_ ./-]*|[+/-]*)$/u;

// As atlas/core/escaping.py
function isFormula(text) {
  return /^[=@\t\r]/.test(text) || (/^[+-]/.test(text) && !LETTERS_BEHIND_SIGN.test(text.slice(1)));
}

// `atlas import-verdicts` removes the apostrophe before a formula.
function cell(text) {
  const harmless = isFormula(text.replace(/^'+/, "")) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

function save() {
  const all = exported();
  const lines = [COLUMNS, ...all.map((row) => COLUMNS.map((column) => row[column]))];
  const csv = lines.map((line) => `${line.map(cell).join(",")}\n`).join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
  link.download = "verdicts.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  for (const row of all) put(entryOf(row, row.reviewer), { ...row, exported: true });
  refresh();
  announce(`Saved ${all.length} ${all.length === 1 ? "verdict" : "verdicts"} in verdicts.csv`);
}

// Buttons and keys

// A verdict leads to the next claim, and to take back goes back if nothing was looked at since.
function giveAndStep(claim, verdict, step) {
  const back = verdict === "undo";
  const target = back ? recent ?? claim : claim;
  const happened = give(target, verdict);
  if (!back) step(shown.indexOf(claim) + 1);
  else if (target !== claim && shown.includes(target)) step(shown.indexOf(target));
  recent = back ? null : claim;
  announce(happened);
}

body.addEventListener("keydown", (event) => {
  const verdict = KEYS[event.key];
  const { claim } = event.target.closest("tr") ?? {};
  if (verdict && claim && !withModifier(event)) giveAndStep(claim, verdict, go);
});
large.addEventListener("keydown", (event) => {
  const verdict = KEYS[event.key];
  if (verdict && !event.target.matches("select") && !withModifier(event)) giveAndStep(shown[opened], verdict, open);
});
large.addEventListener("click", (event) => {
  const button = event.target.closest("[data-verdict]");
  if (button) giveAndStep(shown[opened], button.dataset.verdict, open);
});
reviewer.addEventListener("change", nameVerdicts);
document.getElementById("export").addEventListener("click", save);
addEventListener("storage", (event) => { // another page of the same run
  if (event.key !== null && !event.key.startsWith(RUN)) return;
  readKept();
  findReviewers();
  refresh();
});
addEventListener("beforeunload", (event) => {
  if (kept === null && exported().some((one) => !one.exported)) event.preventDefault();
});

function findReviewers() {
  const here = [...mine.values()].reduce((by, row) => {
    const pair = entryOf(row, "");
    return by.set(pair, [...(by.get(pair) ?? []), row.reviewer]);
  }, new Map());
  for (const claim of rows) claim.reviewers = here.get(entryOf(claim, "")) ?? [];
}

readKept();
findReviewers();
reviewer.value = kept?.getItem(NAME) ?? "";
