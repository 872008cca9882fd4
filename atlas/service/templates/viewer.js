// The pictures of one item: panes that zoom and pan together. Positions are shares of a picture's sides.

import { coloured, planesOf } from "./planes.js";

const [LEAST_ZOOM, MOST_ZOOM] = [0.1, 40];
const BLINK_MS = 600; // fewer than three changes a second
const OUTLINE = "rgb(255 216 77 / 55%)"; // the picture stays visible
const IDENTITY = [1, 0, 0, 0, 1, 0];

export class Viewer {
  constructor(root, channels, { onView = () => {} } = {}) {
    this.channels = channels;
    this.onView = onView;
    this.shown = channels.map(() => ({ on: true, black: 0, white: 1 }));
    this.panes = Object.fromEntries(["query", "match", "overlay"].map((name) => {
      const figure = root.querySelector(`[data-pane=${name}]`);
      return [name, { figure, canvas: figure.querySelector("canvas"), caption: figure.querySelector("figcaption") }];
    }));
    this.drawn = { query: document.createElement("canvas"), match: document.createElement("canvas") };
    this.opacity = 0.5;
    this.outlines = true;
    this.blinking = null;
    this.loaded = 0;
    this.clear();
    for (const [name, { canvas }] of Object.entries(this.panes)) this.listen(canvas, name);
    new ResizeObserver(() => this.draw()).observe(root);
  }

  clear() {
    this.images = null;
    this.laid = IDENTITY;
    this.registered = null;
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
  }

  // Show an item. A later call overtakes an earlier one that is still loading.
  async load(item) {
    const turn = ++this.loaded;
    this.clear();
    this.draw();
    const { version, query_id: query, match_id: match } = item;
    const isPair = Boolean(match);
    this.panes.match.figure.hidden = this.panes.overlay.figure.hidden = !isPair;
    const [queryImage, matchImage, registered] = await Promise.all([
      planesOf(query, version, this.channels),
      isPair ? planesOf(match, version, this.channels) : null,
      isPair && item.kind !== "group" ? registrationOf(item) : null,
    ]);
    if (turn !== this.loaded) return null;
    this.images = { query: queryImage, match: matchImage };
    this.registered = registered;
    this.laid = registered?.laid_23 ?? IDENTITY;
    this.panes.overlay.figure.hidden = !this.overlaid;
    this.describe(item);
    this.colour();
    return registered;
  }

  get overlaid() { return Boolean(this.registered?.aligned); }

  describe({ query_id: query, match_id: match, kind, captions }) {
    const size = ({ width, height }) => `${width} × ${height} pixels`;
    const names = captions ?? { query: kind === "labels" ? "Labelled image" : "Query", match: "Match" };
    const said = {
      query: `${names.query} ${query}, ${size(this.images.query)}`,
      match: this.images.match && `${names.match} ${match}, ${size(this.images.match)}`,
      overlay: `Overlay: query ${query}, registered to match ${match}`,
    };
    for (const [name, { canvas, caption }] of Object.entries(this.panes)) {
      canvas.setAttribute("aria-label", said[name] ?? "");
      caption.textContent = said[name] ?? "";
    }
  }

  colour() {
    if (!this.images) return;
    for (const [name, image] of Object.entries(this.images)) {
      if (image) coloured(image, this.channels, this.shown, this.drawn[name]);
    }
    this.draw();
  }

  // Drawing. A view says which point of the match is in the middle; the query shows the same point.

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      for (const name of Object.keys(this.panes)) this.drawPane(name);
      this.onView(this.view.zoom * this.fitScale("query") / devicePixelRatio);
    });
  }

  // Screen pixels for each pixel of the picture if the whole picture is shown.
  fitScale(name) {
    const { canvas } = this.panes[name];
    const image = this.imageOf(name);
    return image ? Math.min(canvas.width / image.width, canvas.height / image.height) : 1;
  }

  imageOf(name) { return this.images?.[name === "query" ? "query" : this.images.match ? "match" : "query"]; }

  middleOf(name) {
    const { x, y, zoom } = this.view;
    if (name !== "query" || !this.images?.match) return [x, y];
    const back = inverse(this.laid);
    const whole = mapped(back, 0.5, 0.5); // while the whole query fits, it is in the middle of its pane
    return mapped(back, x, y).map((value, n) => value - (whole[n] - 0.5) / Math.max(1, zoom) ** 2);
  }

  drawPane(name) {
    const { canvas, figure } = this.panes[name];
    if (figure.hidden) return;
    const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.reset();
    context.fillStyle = "black";
    context.fillRect(0, 0, side, side);
    const image = this.imageOf(name);
    if (!image) return;
    const scale = this.fitScale(name) * this.view.zoom;
    const [x, y] = this.middleOf(name);
    const [width, height] = [image.width * scale, image.height * scale];
    context.imageSmoothingEnabled = scale < 2;
    context.imageSmoothingQuality = "high";
    const unit = [width, 0, 0, height, side / 2 - x * width, side / 2 - y * height]; // sides 1 -> screen
    if (name !== "overlay") {
      this.drawUnit(context, unit, IDENTITY, name);
      if (this.outlines) this.drawBlocks(context, unit, name);
      return;
    }
    this.drawUnit(context, unit, IDENTITY, "match");
    context.globalAlpha = this.opacity;
    this.drawUnit(context, unit, this.laid, "query");
  }

  drawUnit(context, unit, [a, c, e, b, d, f], name) {
    context.save();
    context.transform(...unit);
    context.transform(a, b, c, d, e, f);
    context.drawImage(this.drawn[name], 0, 0, 1, 1);
    context.restore();
  }

  drawBlocks(context, unit, name) {
    const blocks = this.registered?.blocks;
    if (!blocks) return;
    const moved = blocks.of_match !== (name === "match");
    const [a, c, e, b, d, f] = moved ? blocks.onto_23 : IDENTITY;
    const path = new Path2D();
    blocks.rows.forEach((marks, row) => [...marks].forEach((mark, column) => {
      if (mark === "1") path.rect(blocks.left + column * blocks.side, blocks.top + row * blocks.side, blocks.side, blocks.side);
    }));
    const onScreen = new Path2D();
    onScreen.addPath(path, new DOMMatrix(unit).multiply(new DOMMatrix([a, b, c, d, e, f])));
    context.strokeStyle = OUTLINE;
    context.lineWidth = devicePixelRatio;
    context.stroke(onScreen);
  }

  // Zoom and pan

  zoomBy(factor, name = "match", at = null) {
    if (!this.images) return;
    const before = this.view.zoom;
    this.view.zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, before * factor));
    if (at) this.shift(name, at[0] * (1 - before / this.view.zoom), at[1] * (1 - before / this.view.zoom), before);
    this.draw();
  }

  native() {
    if (!this.images) return;
    this.view.zoom = devicePixelRatio / this.fitScale("query");
    this.draw();
  }

  fit() {
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
    this.draw();
  }

  panBy(dx, dy) {
    this.shift("match", dx * this.panes.query.canvas.width, dy * this.panes.query.canvas.width);
    this.draw();
  }

  // Move the middle by screen pixels of a pane.
  shift(name, dx, dy, zoom = this.view.zoom) {
    const image = this.imageOf(name);
    if (!image) return;
    const scale = this.fitScale(name) * zoom;
    let [x, y] = [dx / (image.width * scale), dy / (image.height * scale)];
    if (name === "query" && this.images.match) {
      const [a, c, , b, d] = this.laid;
      [x, y] = [a * x + c * y, b * x + d * y];
    }
    const within = (value) => Math.min(1.2, Math.max(-0.2, value));
    this.view.x = within(this.view.x + x);
    this.view.y = within(this.view.y + y);
  }

  listen(canvas, name) {
    const fingers = new Map();
    const place = (event) => [event.clientX * devicePixelRatio, event.clientY * devicePixelRatio];
    const apart = () => Math.hypot(...[0, 1].map((n) => [...fingers.values()][0][n] - [...fingers.values()][1][n]));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      const at = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
      this.zoomBy(Math.exp(-event.deltaY / 400), name, at.map((value) => value * devicePixelRatio));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      const from = fingers.get(event.pointerId);
      if (!from) return;
      const before = fingers.size === 2 ? apart() : 0;
      fingers.set(event.pointerId, place(event));
      if (before) this.zoomBy(apart() / before);
      else {
        const [x, y] = place(event);
        this.shift(name, from[0] - x, from[1] - y);
        this.draw();
      }
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  }

  // Overlay

  setOpacity(share) {
    this.opacity = share;
    this.draw();
  }

  blink(on, ofSlider) {
    clearInterval(this.blinking);
    this.blinking = on ? setInterval(() => this.setOpacity(this.opacity < 0.5 ? 1 : 0), BLINK_MS) : null;
    this.setOpacity(on ? 1 : ofSlider);
  }
}

async function registrationOf({ name, version }) {
  const answer = await fetch(`/pictures/registered?${new URLSearchParams({ name, v: version })}`);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `status ${answer.status}`);
  return answer.json();
}

const mapped = ([a, c, e, b, d, f], x, y) => [a * x + c * y + e, b * x + d * y + f];

function inverse([a, c, e, b, d, f]) {
  const det = a * d - b * c || 1;
  return [d / det, -c / det, (c * f - d * e) / det, -b / det, a / det, (b * e - a * f) / det];
}
