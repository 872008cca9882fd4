// Verdicts on their way to the server. Each is kept in this browser until the server has it on its disk.

const RETRY_MS = 2000;
const MOST_AT_ONCE = 200;

export class Outbox extends EventTarget {
  // `key` names the run, so that no verdict is sent to another one.
  constructor(key) {
    super();
    this.key = key;
    this.prefix = `atlas-review:${key}:`;
    this.waiting = new Map(); // token -> row
    this.offline = false;
    this.why = "";
    this.busy = false;
    for (const row of this.kept()) this.waiting.set(row.token, row);
  }

  kept() {
    const found = [];
    try {
      for (let n = 0; n < localStorage.length; n++) {
        const name = localStorage.key(n);
        if (name.startsWith(this.prefix)) found.push(JSON.parse(localStorage.getItem(name)));
      }
    } catch { /* a browser without storage, or a row that is damaged */ }
    return found.sort((a, b) => a.made - b.made);
  }

  add(rows) {
    for (const row of rows) {
      const full = { ...row, token: token(), made: Date.now() + this.waiting.size / 1000 };
      this.waiting.set(full.token, full);
      try { localStorage.setItem(this.prefix + full.token, JSON.stringify(full)); } catch { /* full or forbidden */ }
    }
    this.changed();
    this.send();
  }

  // The latest row about a whole item that is not on the server's disk yet; not one about two images of a group.
  pending(name, reviewer) {
    return [...this.waiting.values()].filter((row) => row.name === name && row.reviewer === reviewer && !row.other).at(-1);
  }

  async send() {
    if (this.busy || !this.waiting.size) return;
    this.busy = true;
    clearTimeout(this.timer);
    const rows = [...this.waiting.values()].slice(0, MOST_AT_ONCE);
    try {
      const answer = await fetch("/api/verdicts", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ run: this.key, rows: rows.map(({ made, ...row }) => row) }),
      });
      if (!answer.ok) throw new Error(await reasonOf(answer));
      const { saved, refused } = await answer.json();
      this.offline = false;
      for (const name of [...saved, ...Object.keys(refused)]) this.forget(name);
      const isSaved = new Set(saved);
      this.dispatchEvent(new CustomEvent("saved", { detail: rows.filter((row) => isSaved.has(row.token)) }));
      if (Object.keys(refused).length) {
        this.dispatchEvent(new CustomEvent("refused", { detail: Object.values(refused) }));
      }
    } catch (error) {
      this.offline = true;
      this.why = error instanceof TypeError ? "the server cannot be reached" : error.message;
      this.timer = setTimeout(() => this.send(), RETRY_MS);
    }
    this.busy = false;
    this.changed();
    if (!this.offline) this.send();
  }

  forget(name) {
    this.waiting.delete(name);
    try { localStorage.removeItem(this.prefix + name); } catch { /* without storage */ }
  }

  changed() { this.dispatchEvent(new Event("change")); }
}

async function reasonOf(answer) {
  try {
    const { detail } = await answer.json();
    return typeof detail === "string" ? detail : `the server refused it (${answer.status})`;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

function token() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
