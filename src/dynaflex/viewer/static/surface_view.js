// A panel with a surface: volume in, threshold and colours at hand, scale bar and legend over it.
import { brief, gradient, rgb, roundStep, table, themed } from "./colours.js";
import { painter } from "./mesh_painter.js";
import { Newest } from "./newest.js";

const TABLES = { motion: table("motion"), doubt: table("doubt"), resolution: table("resolution") };

/** Shows volumes in `element`; `camera` may be shared with other views. */
export class SurfaceView {
  coloured = true;
  /** Leave out small islands. */
  tidy = true;
  scale = "motion";
  level = null;
  /** The value of the strongest colour, and of the weakest. */
  limits = [0, 1];
  meshed = 0;

  constructor(element, camera, label) {
    this.element = element;
    this.camera = camera;
    this.canvas = element.appendChild(document.createElement("canvas"));
    Object.assign(this.canvas, { tabIndex: 0, className: "surface" });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${label}: drag or arrow keys turn, wheel or + and − zoom, 0 resets`);
    this.painter = painter(this.canvas);
    this.overlay = element.appendChild(document.createElement("div"));
    this.overlay.className = "overlay";
    this.overlay.innerHTML =
      '<div class="bar"><i></i><span></span></div><div class="legend"><b></b><i></i><span></span><span></span></div>';
    if (this.painter.kind === "canvas") {
      const note = this.overlay.appendChild(document.createElement("p"));
      note.className = "note";
      note.textContent = "No WebGL in this browser: surfaces are drawn without it, more slowly.";
    }
    this.worker = new Worker(new URL("./isosurface.worker.js", import.meta.url), { type: "module" });
    this.surface = new Newest(() => this.#mesh());
    camera.attach(this.canvas);
    camera.addEventListener("change", () => this.paint());
    this.canvas.addEventListener("restored", () => this.paint());
    new ResizeObserver(() => this.#resize()).observe(element);
    this.#resize();
  }

  /** Show a volume message; resolves when it is on the canvas. Without a level, the one that suits the volume. */
  async show(message) {
    const [shape] = message.arrays.map((array) => array.shape);
    this.message = message;
    this.level ??= message.level;
    this.volume = {
      values: message.data[0], shape, origin: message.origin, pixelSize: message.pixel_size, step: message.step,
      colour: message.data[1] ?? null,
    };
    await this.surface.ask();
  }

  /** Cut at another level, or make the surface again. */
  async cut(level = this.level) {
    this.level = level;
    if (this.message) await this.surface.ask();
  }

  /** The newest volume at the newest level; the worker keeps the volume it has. */
  async #mesh() {
    const fresh = this.volume !== this.sent;
    this.sent = this.volume;
    const mesh = await new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => resolve(data);
      this.worker.onerror = (event) => reject(new Error(event.message || "the surface could not be made"));
      this.worker.postMessage({ volume: fresh ? this.volume : null, level: this.level, tidy: this.tidy });
    });
    this.mesh = mesh;
    this.painter.load(mesh);
    this.meshed += 1;
    this.paint(true);
    this.element.dispatchEvent(new Event("painted"));
  }

  /** Paint now if `atOnce`, else with the next frame of the screen. */
  paint(atOnce = false) {
    if (atOnce) {
      this.#paint();
      return;
    }
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.#paint();
    });
  }

  #paint() {
    const low = this.message?.colour_limits ?? [0, 1];
    const byte = (value) => ((value - low[0]) / (low[1] - low[0] || 1)) * 255;
    const coloured = this.coloured && Boolean(this.message?.colour);
    this.painter.paint(this.camera, {
      plain: rgb(themed("--surface")).map((c) => c / 255),
      behind: rgb(themed("--ground")).map((c) => c / 255),
      table: coloured ? TABLES[this.scale] : null,
      limits: this.limits.map(byte),
    });
    this.#legend(coloured);
  }

  #legend(coloured) {
    const { length, pixels } = this.scaleBar();
    const bar = this.overlay.querySelector(".bar");
    bar.firstChild.style.width = `${pixels}px`;
    bar.lastChild.textContent = `${length} Å`;
    const legend = this.overlay.querySelector(".legend");
    legend.hidden = !coloured;
    if (!coloured) return;
    const { label, unit } = this.message.colour;
    const [title, strip, low, high] = legend.children;
    title.textContent = `${label}, ${unit}`;
    strip.style.background = gradient(this.scale);
    low.textContent = brief(this.limits[0]);
    high.textContent = brief(this.limits[1]);
  }

  /** A round length in Å of about a fifth of the width, and how many CSS pixels it has. */
  scaleBar() {
    const perPixel = (2 * this.camera.extent) / Math.max(this.canvas.clientHeight, 1);
    const length = roundStep((this.canvas.clientWidth / 5) * perPixel);
    return { length, pixels: length / perPixel };
  }

  /** The picture with scale bar and legend, on a canvas of its own of an even number of pixels. */
  picture() {
    this.#paint();
    const out = document.createElement("canvas");
    [out.width, out.height] = [this.canvas.width & ~1, this.canvas.height & ~1];
    const pen = out.getContext("2d");
    pen.drawImage(this.canvas, 0, 0);
    const ratio = this.canvas.width / Math.max(this.canvas.clientWidth, 1);
    pen.scale(ratio, ratio);
    const bottom = out.height / ratio - 16;
    pen.fillStyle = themed("--ink");
    pen.font = "13px system-ui, sans-serif";
    const { length, pixels } = this.scaleBar();
    pen.fillRect(16, bottom, pixels, 3);
    pen.fillText(`${length} Å`, 16, bottom - 6);
    if (!this.overlay.querySelector(".legend").hidden) this.#paintLegend(pen, out.width / ratio - 196, bottom);
    return out;
  }

  #paintLegend(pen, left, bottom) {
    const colours = TABLES[this.scale];
    for (let i = 0; i < 180; i++) {
      const at = 4 * Math.round((i / 179) * 255);
      pen.fillStyle = `rgb(${colours[at]}, ${colours[at + 1]}, ${colours[at + 2]})`;
      pen.fillRect(left + i, bottom - 14, 1.5, 8);
    }
    pen.fillStyle = themed("--ink");
    const { label, unit } = this.message.colour;
    pen.fillText(`${label}, ${unit}`, left, bottom - 20);
    pen.fillText(brief(this.limits[0]), left, bottom + 8);
    pen.textAlign = "right";
    pen.fillText(brief(this.limits[1]), left + 180, bottom + 8);
    pen.textAlign = "left";
  }

  #resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.element;
    this.canvas.width = Math.max(Math.round(clientWidth * ratio), 2);
    this.canvas.height = Math.max(Math.round(clientHeight * ratio), 2);
    this.paint();
  }
}
