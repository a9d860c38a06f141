// A panel with a surface: volume in, threshold and colours at hand; arrows, Gaussians or the mesh in it or instead of it.
import { arrowsOf, gaussiansOf, layer, meshOf, tableOf, together, usualTimes } from "./bodies.js";
import { rgb, themed } from "./colours.js";
import { painter } from "./mesh_painter.js";
import { Newest } from "./newest.js";
import { Overlay } from "./surface_overlay.js";

/** What stands in a picture of a conformation that no particle is like. */
const ALONE = "no particle is near";

/** Shows volumes in `element`; `camera` may be shared with other views. */
export class SurfaceView {
  /** Leave out small islands. */
  tidy = true;
  /** What is asked of the server beside the density, as the end of a query. */
  query = "";
  /** `surface`, `parts` (Gaussians or the mesh), or `both`. */
  shown = "surface";
  /** The message about the Gaussians or the mesh at rest. */
  parts = null;
  /** The colour of the page's theme that a surface without colours has. */
  plain = "--surface";
  /** Colour the mesh by its segments. */
  bySegment = false;
  /** How many times as long as the motion arrows are drawn; null for what suits the run. */
  times = null;
  level = null;
  /** The value of the weakest colour, and of the strongest. */
  limits = [0, 1];
  /** Called with every message before it is shown; may take its time. */
  prepare = async () => {};
  meshed = 0;

  constructor(element, camera, label) {
    this.element = element;
    this.camera = camera;
    this.canvas = element.appendChild(document.createElement("canvas"));
    Object.assign(this.canvas, { tabIndex: 0, className: "surface" });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${label}: drag or arrow keys turn, wheel or + and − zoom, 0 resets`);
    this.painter = painter(this.canvas);
    this.overlay = new Overlay(element);
    if (this.painter.kind === "canvas") this.overlay.warn("No WebGL in this browser: all is drawn without it, more slowly.");
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
    this.coming = message;
    await this.prepare(message);
    if (this.coming !== message) return;
    const [shape] = message.arrays.map((array) => array.shape);
    this.message = message;
    this.level ??= message.level;
    this.volume = {
      values: layer(message, "density"), shape, origin: message.origin, pixelSize: message.pixel_size,
      step: message.step, colour: layer(message, "colour"),
    };
    await this.surface.ask();
  }

  /** Make room for something else in the same place. */
  hide(hidden) {
    this.canvas.hidden = hidden;
    this.overlay.element.classList.toggle("bare", hidden);
  }

  /** Cut at another level, or make the surface again. */
  async cut(level = this.level) {
    this.level = level;
    if (this.message) await this.surface.ask();
  }

  /** Colours, lengths or what is shown have changed, the conformation has not. */
  refresh() {
    if (this.message) this.#embody();
    this.paint();
  }

  /** The newest volume at the newest level; the worker keeps the volume it has. */
  async #mesh() {
    const { message } = this;
    const fresh = this.volume !== this.sent;
    this.sent = this.volume;
    const mesh = await new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => resolve(data);
      this.worker.onerror = (event) => reject(new Error(event.message || "the surface could not be made"));
      this.worker.postMessage({ volume: fresh ? this.volume : null, level: this.level, tidy: this.tidy });
    });
    this.mesh = mesh;
    this.painter.load("surface", mesh);
    // Surface, arrows and parts of one conformation are seen together.
    if (this.embodied !== message) this.#embody(message);
    this.meshed += 1;
    this.paint(true);
    this.element.dispatchEvent(new Event("painted"));
  }

  #embody(message = this.message) {
    this.embodied = message;
    const arrows = arrowsOf(message, this.drawnTimes, this.limits);
    const parts = this.#partsIn(message);
    const isMesh = parts?.kind === "mesh";
    const filled = this.shown === "parts";
    const mesh = isMesh ? meshOf(message, parts, this.limits, { filled, bySegment: this.bySegment }) : null;
    this.painter.load("solids", together(mesh, arrows));
    this.painter.load("points", parts && !isMesh ? gaussiansOf(message, parts, this.limits) : null);
  }

  /** The parts, if they are to be shown and the message says where they are. */
  #partsIn(message) {
    const known = this.shown !== "surface" && layer(message, "parts") && this.parts?.half === message.half;
    return known ? this.parts : null;
  }

  /** How many times as long as the motion arrows are drawn. */
  get drawnTimes() {
    return this.times ?? usualTimes(this.message);
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
    const { message } = this;
    const low = message?.colour_limits ?? [0, 1];
    const byte = (value) => ((value - low[0]) / (low[1] - low[0] || 1)) * 255;
    this.painter.paint(this.camera, {
      plain: rgb(themed(this.plain)).map((c) => c / 255),
      behind: rgb(themed("--ground")).map((c) => c / 255),
      table: message?.colour ? tableOf(message.colour.id) : null,
      limits: this.limits.map(byte),
      surface: this.#howSeen(),
    });
    this.overlay.tell({
      perPixel: this.camera.perPixel({ width: this.canvas.clientWidth, height: this.canvas.clientHeight }),
      width: this.canvas.clientWidth,
      legend: this.#legend(), times: message && layer(message, "arrows") ? this.drawnTimes : null, caption: this.#caption(),
      alone: message?.near === 0 ? ALONE : "",
    });
  }

  #howSeen() {
    const { message } = this;
    if (!message) return "hidden";
    const parts = this.#partsIn(message);
    if (parts && this.shown === "parts") return "hidden";
    return parts || layer(message, "arrows") ? "seeThrough" : "whole";
  }

  #legend() {
    if (!this.message) return null;
    const { segments } = this.#partsIn(this.message) ?? {};
    if (this.bySegment && segments) return { title: "segment of the mesh", classes: segments, limits: [1, segments] };
    const { colour } = this.message;
    return colour && { title: `${colour.label}, ${colour.unit}`, id: colour.id, limits: this.limits };
  }

  #caption() {
    const parts = this.message && this.#partsIn(this.message);
    if (!parts) return "";
    const whole = parts.total.toLocaleString("en");
    const shown = layer(parts, "rest").length / 3;
    if (parts.kind === "mesh") return `outer faces of the mesh: ${whole} vertices${parts.segments > 1 ? ` in ${parts.segments} segments` : ""}`;
    return shown < parts.total ? `${shown.toLocaleString("en")} of ${whole} Gaussians` : `${whole} Gaussians`;
  }

  /** The picture with all that lies over it, on a canvas of its own of an even number of pixels. */
  picture() {
    this.#paint();
    const out = document.createElement("canvas");
    [out.width, out.height] = [this.canvas.width & ~1, this.canvas.height & ~1];
    const pen = out.getContext("2d");
    pen.drawImage(this.canvas, 0, 0);
    const ratio = this.canvas.width / Math.max(this.canvas.clientWidth, 1);
    pen.scale(ratio, ratio);
    this.overlay.paintOnto(pen, out.width / ratio, out.height / ratio);
    return out;
  }

  #resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.element;
    this.canvas.width = Math.max(Math.round(clientWidth * ratio), 2);
    this.canvas.height = Math.max(Math.round(clientHeight * ratio), 2);
    this.paint();
  }
}
