// A scatter plot of up to millions of points: points are counted per pixel, and the density is what is drawn.
import { brief, roundStep } from "./colours.js";
import { attachPointer } from "./plot_pointer.js";

const FADED = 0.12;
const SVG = "http://www.w3.org/2000/svg";

/**
 * Points `x`, `y` with colour `codes` into a `table` of 256 colours.
 *
 * Events: "explore" {x, y, ended}, "click" {x, y}, "lasso" {mask, adds}, "hover" {index, left, top} or index -1.
 * Tools: "explore" reports where the pointer is, "path" where it clicks, "lasso" encloses points, "pan" moves the plot.
 */
export class DensityPlot extends EventTarget {
  tool = "explore";
  labels = ["", ""];
  /** CSS pixels of the polygon that is being drawn. */
  lasso = null;
  marks = { at: null, nodes: [], line: [] };
  #x = new Float32Array(0);
  #y = new Float32Array(0);
  #codes = new Uint8Array(0);
  #table = new Uint8Array(1024);
  #selected = null;
  #center = [0, 0];
  #unit = 100;

  constructor(element) {
    super();
    this.element = element;
    this.canvas = element.appendChild(document.createElement("canvas"));
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Latent space of the particles; arrow keys move the conformation");
    this.overlay = element.appendChild(document.createElementNS(SVG, "svg"));
    this.pen = this.canvas.getContext("2d");
    attachPointer(this);
    new ResizeObserver(() => this.#resize()).observe(element);
    this.#resize();
  }

  /** Other points. */
  set(x, y) {
    [this.#x, this.#y] = [x, y];
    this.#selected = null;
  }

  colour(codes, table) {
    [this.#codes, this.#table] = [codes, table];
  }

  /** Show the points of a mask (one byte each) and fade the others; null shows all alike. */
  select(mask) {
    this.#selected = mask;
    this.draw();
  }

  /** Show all points. */
  fit() {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.#x.length; i++) {
      x0 = Math.min(x0, this.#x[i]);
      x1 = Math.max(x1, this.#x[i]);
      y0 = Math.min(y0, this.#y[i]);
      y1 = Math.max(y1, this.#y[i]);
    }
    if (!Number.isFinite(x0)) return;
    this.#center = [(x0 + x1) / 2, (y0 + y1) / 2];
    const { clientWidth, clientHeight } = this.element;
    this.#unit = 0.86 * Math.min(clientWidth / Math.max(x1 - x0, 1e-6), clientHeight / Math.max(y1 - y0, 1e-6));
    this.draw();
  }

  /** From values to CSS pixels, and back. */
  toPixels(x, y) {
    const { clientWidth, clientHeight } = this.element;
    return [clientWidth / 2 + (x - this.#center[0]) * this.#unit, clientHeight / 2 - (y - this.#center[1]) * this.#unit];
  }

  toValues(left, top) {
    const { clientWidth, clientHeight } = this.element;
    return [this.#center[0] + (left - clientWidth / 2) / this.#unit, this.#center[1] - (top - clientHeight / 2) / this.#unit];
  }

  /** The point nearest to a pixel, if it is within `reach` CSS pixels; else -1. */
  nearest(left, top, reach) {
    const [x, y] = this.toValues(left, top);
    let [best, distance] = [-1, (reach / this.#unit) ** 2];
    for (let i = 0; i < this.#x.length; i++) {
      const far = (this.#x[i] - x) ** 2 + (this.#y[i] - y) ** 2;
      if (far < distance) [best, distance] = [i, far];
    }
    return best;
  }

  /** One byte per point: is it inside the polygon (CSS pixels)? The polygon is painted once and looked up. */
  inside(polygon) {
    const { width, height } = this.canvas;
    const ratio = this.ratio;
    const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    pen.beginPath();
    for (const [left, top] of polygon) pen.lineTo(left * ratio, top * ratio);
    pen.fill("evenodd");
    const painted = new Uint32Array(pen.getImageData(0, 0, width, height).data.buffer);
    const mask = new Uint8Array(this.#x.length);
    const { unit, left, top } = this.#transform();
    for (let i = 0; i < mask.length; i++) {
      const px = Math.floor(left + this.#x[i] * unit);
      const py = Math.floor(top - this.#y[i] * unit);
      if (px >= 0 && py >= 0 && px < width && py < height && painted[py * width + px] >>> 24 > 127) mask[i] = 1;
    }
    return mask;
  }

  draw() {
    const started = performance.now();
    const { width, height } = this.canvas;
    const sums = this.#sums(width * height);
    const size = pointSize(this.#x.length) * this.ratio;
    const shape = stamp(Math.max(1, Math.round(size)));
    this.#count(sums, shape, width, height);
    this.#shade(sums, width, height, shape.length);
    this.drawTime = performance.now() - started;
    this.drawOverlay();
  }

  /** Marks, axes and the lasso, over the points. */
  drawOverlay() {
    const { clientWidth: width, clientHeight: height } = this.element;
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.overlay.replaceChildren();
    this.#axis(0, width, height);
    this.#axis(1, width, height);
    const { at, nodes, line } = this.marks;
    this.#polyline(line, "path");
    for (const node of nodes) this.#circle(node, 4, "node");
    if (this.lasso) this.#shape("polygon", { points: this.lasso.map((p) => p.join(",")).join(" "), class: "lasso" });
    if (at) {
      this.#circle(at, 9, "halo");
      this.#circle(at, 7, "at");
    }
  }

  #transform() {
    const unit = this.#unit * this.ratio;
    const { width, height } = this.canvas;
    return { unit, left: width / 2 - this.#center[0] * unit, top: height / 2 + this.#center[1] * unit };
  }

  /** Per pixel: weight, red, green, blue, side by side so that a point touches one line of memory. */
  #sums(pixels) {
    if (this.sums?.length === 4 * pixels) this.sums.fill(0);
    else this.sums = new Float32Array(4 * pixels);
    return this.sums;
  }

  #count(sums, shape, width, height) {
    const [x, y, codes, table, selected] = [this.#x, this.#y, this.#codes, this.#table, this.#selected];
    const { unit, left, top } = this.#transform();
    const single = shape.length === 1;
    for (let i = 0; i < x.length; i++) {
      const px = Math.floor(left + x[i] * unit);
      const py = Math.floor(top - y[i] * unit);
      if (px < 0 || py < 0 || px >= width || py >= height) continue;
      const weight = selected && !selected[i] ? FADED : 1;
      const code = 4 * codes[i];
      for (let s = 0; s < shape.length; s++) {
        let at = py * width + px;
        if (!single) {
          const [dx, dy] = shape[s];
          if (px + dx < 0 || py + dy < 0 || px + dx >= width || py + dy >= height) continue;
          at += dy * width + dx;
        }
        at *= 4;
        sums[at] += weight;
        sums[at + 1] += weight * table[code];
        sums[at + 2] += weight * table[code + 1];
        sums[at + 3] += weight * table[code + 2];
      }
    }
  }

  #shade(sums, width, height, coverage) {
    const image = this.image?.width === width && this.image.height === height
      ? this.image : (this.image = this.pen.createImageData(width, height));
    const pixels = new Uint32Array(image.data.buffer);
    const gain = this.#gain(sums, coverage);
    for (let i = 0, at = 0; i < pixels.length; i++, at += 4) {
      const count = sums[at];
      if (count === 0) {
        pixels[i] = 0;
        continue;
      }
      // One whole point is always seen; faded ones stay faint however many there are.
      const floor = 110 * Math.min(count, 1);
      const alpha = floor + (255 - floor) * (1 - Math.exp(-count * gain));
      pixels[i] = alpha << 24 | (sums[at + 3] / count) << 16 | (sums[at + 2] / count) << 8 | (sums[at + 1] / count);
    }
    this.pen.putImageData(image, 0, 0);
  }

  /** Opacity per point, such that the densest fiftieth of the covered pixels is nearly opaque. */
  #gain(sums) {
    const seen = [];
    for (let at = 0; at < sums.length; at += 4 * 37) if (sums[at] > 0) seen.push(sums[at]);
    if (!seen.length) return 1;
    seen.sort((a, b) => a - b);
    return 2.2 / Math.max(seen[Math.floor(0.98 * (seen.length - 1))], 1);
  }

  #axis(which, width, height) {
    const span = (which ? height : width) / this.#unit;
    const step = roundStep(span / (which ? 4 : 6) * 1.6);
    const [low, high] = [this.#center[which] - span / 2, this.#center[which] + span / 2];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
      const [left, top] = which ? this.toPixels(low, value) : this.toPixels(value, low);
      const edge = which ? [0, top, 6, top] : [left, height, left, height - 6];
      this.#shape("line", { x1: edge[0], y1: edge[1], x2: edge[2], y2: edge[3], class: "tick" });
      const text = which ? { x: 9, y: top + 4 } : { x: left, y: height - 9, "text-anchor": "middle" };
      const clear = which ? top > 30 && top < height - 34 : left > 44 && left < width - 24 - 7.5 * this.labels[0].length;
      if (clear) this.#shape("text", { ...text, class: "tick-label" }).textContent = brief(Math.abs(value) < 1e-9 ? 0 : value);
    }
    const name = which ? { x: 9, y: 17 } : { x: width - 8, y: height - 9, "text-anchor": "end" };
    this.#shape("text", { ...name, class: "axis-label" }).textContent = this.labels[which];
  }

  #polyline(values, kind) {
    if (values.length < 2) return;
    const points = values.map(([x, y]) => this.toPixels(x, y).map((c) => c.toFixed(1)).join(",")).join(" ");
    this.#shape("polyline", { points, class: kind });
  }

  #circle([x, y], r, kind) {
    const [cx, cy] = this.toPixels(x, y);
    this.#shape("circle", { cx, cy, r, class: kind });
  }

  #shape(name, attributes) {
    const shape = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    return this.overlay.appendChild(shape);
  }

  /** Move what is seen so that the point `at` lies in the middle. */
  panTo(at) {
    this.#center = at;
    this.#later();
  }

  /** Zoom, with what lies at a pixel staying there. */
  zoomAt(left, top, factor) {
    const before = this.toValues(left, top);
    this.#unit *= factor;
    const after = this.toValues(left, top);
    this.panTo(this.#center.map((c, i) => c + before[i] - after[i]));
  }

  get center() {
    return this.#center;
  }

  get unit() {
    return this.#unit;
  }

  #later() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  #resize() {
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    this.canvas.width = Math.max(1, Math.round(this.element.clientWidth * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.element.clientHeight * this.ratio));
    this.draw();
  }
}

/** How wide a point is, in CSS pixels: few points are discs, many are dust. */
function pointSize(count) {
  if (count < 3000) return 6;
  if (count < 20000) return 4;
  return count < 100000 ? 2 : 1;
}

/** The pixels of a disc. */
function stamp(size) {
  const found = [];
  const reach = (size - 1) / 2;
  for (let dy = -Math.floor(reach); dy <= Math.ceil(reach); dy++) {
    for (let dx = -Math.floor(reach); dx <= Math.ceil(reach); dx++) {
      if (size < 3 || Math.hypot(dx - reach % 1, dy - reach % 1) <= size / 2) found.push([dx, dy]);
    }
  }
  return found;
}
