// The page of the lookup service: files are dropped, and the answer of /lookup is shown.

const zone = document.getElementById("zone");
const files = document.getElementById("files");
const said = document.getElementById("said");
const neighbours = document.getElementById("neighbours");
const SHOWN = 6;
let latest = 0; // an answer that comes after a later question is not shown

function facts(one) {
  const list = document.createElement("dl");
  const rows = {
    similarity: one.similarity.toFixed(3),
    "registration score": one.registration.score.toFixed(1),
    labels: one.label_names.join(", ") || "none",
  };
  for (const [name, value] of Object.entries(rows)) {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    list.append(term, text);
  }
  return list;
}

function tile(one) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = `pictures/${one.id.split("/").map(encodeURIComponent).join("/")}`;
  picture.alt = `known image ${one.id}`;
  const name = document.createElement("strong");
  name.textContent = one.id;
  item.append(picture, name, facts(one));
  return item;
}

function show(answer) {
  const labels = answer.verdict.label_names;
  const sure = answer.verdict.confidence;
  said.textContent = answer.verdict.reason
    + (labels === null ? "" : ` Labels that follow: ${labels.join(", ") || "none"}.`)
    + (sure === null ? "" : ` Confidence: ${sure.toFixed(3)}.`);
  neighbours.replaceChildren(...answer.neighbours.map(tile));
}

async function ask(chosen) {
  if (chosen.length === 0) return;
  const question = ++latest;
  const form = new FormData();
  for (const file of chosen) form.append("image", file);
  form.append("k", String(SHOWN));
  neighbours.replaceChildren();
  said.textContent = "Looking it up...";
  let problem = "";
  try {
    const answer = await fetch("lookup", { method: "POST", body: form });
    const content = await answer.json();
    if (question !== latest) return;
    if (answer.ok) show(content);
    else problem = content.detail;
  } catch {
    problem = "The service does not answer.";
  }
  if (problem && question === latest) said.textContent = problem;
}

zone.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone.classList.add("over");
});
zone.addEventListener("dragleave", () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  ask(event.dataTransfer.files);
});
files.addEventListener("change", () => ask(files.files));
