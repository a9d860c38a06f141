// A scatter plot of up to millions of points: what is seen of the plane, the axes, and the marks over the points.
import { brief, nodeColour, roundStep } from "./colours.js";
import { DensityImage } from "./density_image.js";
import { attachPointer } from "./plot_pointer.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Points `x`, `y` with colour `codes` into a `table` of 256 colours.
 *
 * Events: "show" {x, y, ended}, "click" {x, y}, "lasso" {mask, adds}, "hover" {index, left, top} or index -1.
 * Tools: "show" reports where the pointer is, "path" where it clicks, "lasso" encloses points, "pan" moves the plot.
 */
export class DensityPlot extends EventTarget {
  tool = "show";
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
    this.canvas.setAttribute("aria-label", "The particles by their conformations; arrow keys move the conformation");
    this.overlay = element.appendChild(document.createElementNS(SVG, "svg"));
    this.image = new DensityImage(this.canvas);
    attachPointer(this);
    new ResizeObserver(() => this.#resize()).observe(element);
    this.#resize();
  }

  /** Other points, or the same in other places; who wants them elsewhere on the screen calls `fit`. */
  set(x, y) {
    if (x.length !== this.#x.length) this.#selected = null;
    [this.#x, this.#y] = [x, y];
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
      // A place that is not known yet is NaN.
      if (!(this.#x[i] + this.#y[i] < Infinity)) continue;
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
    const [x, y, codes, table, selected] = [this.#x, this.#y, this.#codes, this.#table, this.#selected];
    this.image.paint({ x, y, codes, table, selected }, this.#transform(), this.ratio);
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
    nodes.forEach((node, i) => { this.#circle(node, 4, "node").style.fill = nodeColour(i, nodes.length); });
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
    return this.#shape("circle", { cx, cy, r, class: kind });
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
