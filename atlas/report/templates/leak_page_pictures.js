// Pictures. A sheet holds gray channels side by side, the query above its match. Colours are added here.

const [sum, plane] = [0, 0].map(() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: tile, height: tile });
  return canvas.getContext("2d");
});

function coloured(sheet, side) {
  sum.globalCompositeOperation = "source-over";
  sum.fillStyle = "black";
  sum.fillRect(0, 0, tile, tile);
  sum.globalCompositeOperation = "lighter";
  channels.forEach(({ colour }, c) => {
    if (channel !== ALL && channel !== c) return;
    plane.globalCompositeOperation = "source-over";
    plane.drawImage(sheet, c * tile, side * tile, tile, tile, 0, 0, tile, tile);
    plane.globalCompositeOperation = "multiply";
    plane.fillStyle = channel === ALL ? colour : "white";
    plane.fillRect(0, 0, tile, tile);
    sum.drawImage(plane.canvas, 0, 0);
  });
  return sum.canvas;
}

function draw(canvas, sheet, side, [a, c, e, b, d, f] = [1, 0, 0, 0, 1, 0]) {
  const context = canvas.getContext("2d");
  const size = canvas.width;
  context.reset();
  context.imageSmoothingQuality = "high";
  context.setTransform(a, b, c, d, e * size, f * size);
  context.drawImage(coloured(sheet, side), 0, 0, size, size);
}

async function decoded(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}

async function drawRow(tr) {
  tr.sheet ??= await decoded(tr.claim.sheet);
  tr.querySelectorAll("canvas").forEach((canvas, side) => draw(canvas, tr.sheet, side));
}

async function drawLarge(claim) {
  const sheet = await decoded(claim.sheet);
  if (claim !== shown[opened]) return; // another claim was opened in the meantime
  const [query, laid, match] = large.querySelectorAll("canvas");
  draw(query, sheet, 0);
  draw(laid, sheet, 0, claim.laid_23);
  draw(match, sheet, 1);
  const [onQuery, onMatch] = large.querySelectorAll(".outlines path");
  outline(onQuery, claim.blocks, claim.blocks?.of_match);
  outline(onMatch, claim.blocks, !claim.blocks?.of_match);
}

// The blocks lie in one of the two pictures, and a map moves them to the other one.
function outline(path, blocks, moved) {
  path.setAttribute("d", blocks ? squares(blocks) : "");
  const [a, c, e, b, d, f] = blocks && moved ? blocks.onto_23 : [1, 0, 0, 0, 1, 0];
  path.setAttribute("transform", `matrix(${a} ${b} ${c} ${d} ${e} ${f})`);
}

function squares({ left, top, side, rows: marks }) {
  const square = (row) => (mark, n) =>
    mark === "1" ? `M${left + n * side} ${top + row * side}h${side}v${side}h${-side}z` : "";
  return marks.flatMap((line, row) => [...line].map(square(row))).join("");
}

function chooseChannel(chosen) {
  channel = chosen;
  for (const select of document.querySelectorAll("select.channel")) select.value = chosen;
  for (const tr of live.values()) drawRow(tr);
  if (large.open) drawLarge(shown[opened]);
  remember();
}
