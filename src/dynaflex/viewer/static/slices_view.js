// Three planes through a map, in grey, that cross in one place.
import { layer } from "./bodies.js";
import { brief, themed } from "./colours.js";
import { getBinary } from "./message.js";
import { Newest } from "./newest.js";

/** Which axes run to the right and up in the plane across an axis. */
const SEEN = { z: ["x", "y"], y: ["x", "z"], x: ["y", "z"] };
const AXES = Object.keys(SEEN);
const ORDER = { x: 0, y: 1, z: 2 };

/** Where the planes of one or several views cross, in Å from the centre of the box, and what they show of it. */
export class Slicing extends EventTarget {
  at = { x: 0, y: 0, z: 0 };
  center = [0, 0, 0];
  reach = 0;

  /** Show a cube around a place, and cross there, unless something is shown already. */
  frame(center, width) {
    if (this.reach) return;
    [this.center, this.reach] = [center, width / 2];
    this.move({ x: center[0], y: center[1], z: center[2] });
  }

  move(places) {
    for (const [axis, value] of Object.entries(places)) {
      const middle = this.center[ORDER[axis]];
      this.at[axis] = Math.min(Math.max(value, middle - this.reach), middle + this.reach);
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** The planes of a whole map of the run, asked of the server one by one. */
export class MapPlanes {
  constructor(id) {
    this.id = id;
  }

  async plane(axis, at) {
    this.known ??= await this.#asked(axis, 0);
    const { box, pixel_size: pixel } = this.known;
    const edge = -Math.floor(box / 2) * pixel;
    const index = Math.min(Math.max(Math.round((at - edge) / pixel), 0), box - 1);
    const { data: [values], least, step, low, high } = await this.#asked(axis, index);
    return { values, width: box, height: box, left: edge, bottom: edge, pixel, least, step, low, high };
  }

  #asked(axis, index) {
    return getBinary(`api/section/${this.id}?axis=${axis}&at=${index}`);
  }
}

/** The planes of a volume that is here, a message of the server; null beyond it. */
export class VolumePlanes {
  constructor(message) {
    this.message = message;
  }

  plane(axis, at) {
    const { arrays: [{ shape: [, ny, nx] }], arrays: [{ shape }], origin, pixel_size: pixel, step } = this.message;
    const [right, up] = SEEN[axis].map((name) => ORDER[name]);
    const sizes = [...shape].reverse();
    const strides = [1, nx, nx * ny];
    const index = Math.round((at - origin[ORDER[axis]]) / pixel);
    if (index < 0 || index >= sizes[ORDER[axis]]) return null;
    const [width, height] = [sizes[right], sizes[up]];
    const whole = layer(this.message, "density");
    const values = new Uint16Array(width * height);
    for (let row = 0, i = 0; row < height; row++) {
      const from = index * strides[ORDER[axis]] + row * strides[up];
      for (let column = 0; column < width; column++, i++) values[i] = whole[from + column * strides[right]];
    }
    return {
      values, width, height, left: origin[right], bottom: origin[up], pixel, least: 0, step, low: 0, high: 0.7 * 65535 * step,
    };
  }
}

/** Shows planes in `element`; `slicing` may be shared with other views. */
export class SlicesView {
  source = null;
  /** The densities that are black and white; null for those that suit the source. */
  limits = null;
  drawn = 0;
  #draw = new Newest(() => this.#drawAll());

  constructor(element, slicing, fail) {
    Object.assign(this, { slicing, fail });
    this.element = element.appendChild(document.createElement("div"));
    Object.assign(this.element, { className: "slices", hidden: true });
    this.planes = AXES.map((axis) => this.#plane(axis));
    const controls = this.element.appendChild(document.createElement("div"));
    controls.className = "sliders";
    this.sliders = AXES.map((axis) => this.#slider(axis, controls));
    slicing.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** Show the planes of another source. */
  show(source, limits = null) {
    [this.source, this.limits] = [source, limits];
    return this.draw();
  }

  async draw() {
    if (this.source && !this.element.hidden) await this.#draw.ask().catch(this.fail);
  }

  #plane(axis) {
    const figure = this.element.appendChild(document.createElement("figure"));
    const canvas = figure.appendChild(document.createElement("canvas"));
    const caption = figure.appendChild(document.createElement("figcaption"));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `The plane across ${axis}: click or drag to move the other two`);
    const follow = (event) => {
      if (!(event.buttons & 1)) return;
      const [right, up] = SEEN[axis];
      const scale = this.#scale(canvas);
      const [x, y] = [event.offsetX - canvas.clientWidth / 2, canvas.clientHeight / 2 - event.offsetY];
      const { center } = this.slicing;
      this.slicing.move({ [right]: center[ORDER[right]] + x / scale, [up]: center[ORDER[up]] + y / scale });
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      follow(event);
    });
    canvas.addEventListener("pointermove", follow);
    return { axis, canvas, caption };
  }

  #slider(axis, controls) {
    const label = controls.appendChild(document.createElement("label"));
    label.textContent = `${axis} `;
    label.title = `Where the plane across ${axis} lies, in Å from the centre of the box`;
    const slider = label.appendChild(Object.assign(document.createElement("input"), { type: "range", step: "any" }));
    slider.addEventListener("input", () => this.slicing.move({ [axis]: Number(slider.value) }));
    return { axis, slider };
  }

  /** CSS pixels per Å. */
  #scale(canvas) {
    return Math.min(canvas.clientWidth, canvas.clientHeight) / (2 * this.slicing.reach || 1);
  }

  async #drawAll() {
    const { at, center, reach } = this.slicing;
    for (const { axis, slider } of this.sliders) {
      const middle = center[ORDER[axis]];
      Object.assign(slider, { min: middle - reach, max: middle + reach, value: at[axis] });
    }
    const found = await Promise.all(this.planes.map(({ axis }) => this.source.plane(axis, at[axis])));
    this.planes.forEach((plane, i) => this.#paint(plane, found[i]));
    this.drawn += 1;
  }

  #paint({ axis, canvas, caption }, plane) {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    Object.assign(canvas, { width: Math.max(Math.round(width * ratio), 1), height: Math.max(Math.round(height * ratio), 1) });
    const pen = canvas.getContext("2d");
    const { at, center } = this.slicing;
    const scale = this.#scale(canvas);
    const [right, up] = SEEN[axis];
    // Å from the middle of what is shown, up the screen.
    pen.setTransform(ratio * scale, 0, 0, -ratio * scale, (ratio * width) / 2, (ratio * height) / 2);
    pen.translate(-center[ORDER[right]], -center[ORDER[up]]);
    if (plane) {
      const half = plane.pixel / 2;
      pen.drawImage(grey(plane, this.limits ?? [plane.low, plane.high]), plane.left - half, plane.bottom - half, plane.width * plane.pixel, plane.height * plane.pixel);
    }
    pen.strokeStyle = themed("--accent");
    pen.lineWidth = 1 / scale;
    pen.beginPath();
    for (const [x, y] of [[1, 0], [0, 1]]) {
      pen.moveTo(at[right] - x * 1e4, at[up] - y * 1e4);
      pen.lineTo(at[right] + x * 1e4, at[up] + y * 1e4);
    }
    pen.globalAlpha = 0.5;
    pen.stroke();
    caption.textContent = `${axis} = ${brief(at[axis])} Å; ${right} →, ${up} ↑`;
  }
}

/** A plane as a picture between black and white. */
function grey({ values, width, height, least, step }, [low, high]) {
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < values.length; i++) {
    const shade = Math.min(Math.max(((least + values[i] * step - low) / (high - low || 1)) * 255, 0), 255);
    pixels[i] = 0xff000000 | shade << 16 | shade << 8 | shade;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
