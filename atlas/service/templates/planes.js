// Gray channels of images from the server, and the colours that are made of them.

const WHITE_SHARE = 0.998; // so many pixels are at most white, as on other pages
const KEPT = 8;
const kept = new Map(); // id -> promise of planes

// Planes of an image: width, height, and for each channel its pixels and the count that is white.
export function planesOf(id, version, channels) {
  const key = `${id} ${version}`;
  if (!kept.has(key)) {
    const loading = Promise.all(channels.map((_, channel) => plane(id, version, channel)));
    kept.set(key, loading.then((all) => ({ width: all[0].width, height: all[0].height, planes: all })));
    kept.get(key).catch(() => kept.delete(key));
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}

async function plane(id, version, channel) {
  const answer = await fetch(`/pictures/channel?${new URLSearchParams({ id, channel, v: version })}`);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `status ${answer.status}`);
  const bitmap = await createImageBitmap(await answer.blob());
  const { width, height } = bitmap;
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const pixels = new Uint8Array(width * height);
  for (let n = 0; n < pixels.length; n++) pixels[n] = rgba[4 * n];
  return { width, height, pixels, white: whiteOf(pixels) };
}

function whiteOf(pixels) {
  const counts = new Uint32Array(256);
  for (const value of pixels) counts[value]++;
  let below = 0;
  for (let value = 0; value < 256; value++) {
    below += counts[value];
    if (below >= WHITE_SHARE * pixels.length) return Math.max(1, value);
  }
  return 255;
}

// Draw an image in the colours of its channels. `shown` has on, black and white for each channel, the
// latter two as shares of the channel's own white.
export function coloured(image, channels, shown, canvas) {
  const { width, height, planes } = image;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const out = context.createImageData(width, height);
  const rgba = out.data;
  for (let n = 3; n < rgba.length; n += 4) rgba[n] = 255;
  const alone = shown.filter(({ on }) => on).length === 1; // a single channel is gray
  planes.forEach(({ pixels, white }, channel) => {
    if (!shown[channel].on) return;
    const table = levels(white, shown[channel]);
    (alone ? [1, 1, 1] : channels[channel].colour).forEach((weight, part) => {
      if (!weight) return;
      for (let n = 0, at = part; n < pixels.length; n++, at += 4) rgba[at] += weight * table[pixels[n]]; // clamped
    });
  });
  context.putImageData(out, 0, 0);
}

function levels(own, { black, white }) {
  const span = Math.max(1e-6, white - black);
  return Float32Array.from({ length: 256 }, (_, value) => 255 * Math.min(1, Math.max(0, (value / own - black) / span)));
}
