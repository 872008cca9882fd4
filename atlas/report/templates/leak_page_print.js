// Paper shows the filtered list in full, in a body of the table that exists only while it is printed. Nothing can be awaited
// before a page is printed, so pictures are layers of their sheet, which the browser itself draws.

const MOST_PRINTED = 1000; // on about 200 sheets
const paper = document.getElementById("paper");

function layers(claim, side) {
  const picture = Object.assign(document.createElement("div"), { className: "tile" });
  channels.forEach(({ colour }, c) => {
    if (channel !== ALL && channel !== c) return;
    const tint = channel === ALL ? colour : "white";
    const layer = document.createElement("i");
    layer.style.backgroundImage = `linear-gradient(${tint}, ${tint}), var(--sheet)`;
    layer.style.backgroundSize = `100% 100%, ${100 * channels.length}% 200%`;
    layer.style.backgroundPosition = `0 0, ${(100 * c) / Math.max(channels.length - 1, 1)}% ${100 * side}%`;
    picture.append(layer);
  });
  return picture;
}

function printedRow(claim) {
  const tr = rowOf(claim);
  tr.style.setProperty("--sheet", `url("${claim.sheet}")`);
  tr.querySelectorAll("canvas").forEach((canvas, side) => canvas.replaceWith(layers(claim, side)));
  return tr;
}

function printedInWords() {
  const listed = shown.length === rows.length ? `All ${rows.length} claims of this page.` : `${shown.length} of ${rows.length} claims: those that pass the filters.`;
  const left = shown.length > MOST_PRINTED ? ` The first ${MOST_PRINTED} are printed; filter the list to print others.` : "";
  return `${listed}${left}${channel === ALL ? "" : ` The pictures show the channel ${channels[channel].name}.`}`;
}

addEventListener("beforeprint", () => {
  paper.replaceChildren(...shown.slice(0, MOST_PRINTED).map(printedRow));
  document.getElementById("printed").textContent = printedInWords();
  document.body.classList.add("printing");
});
addEventListener("afterprint", () => {
  document.body.classList.remove("printing");
  paper.replaceChildren();
});
