// An orthographic camera that turns about a point like a ball under the hand. Several views may share one.
import { Fingers } from "./fingers.js";

/**
 * Rotation is a 3 x 3 matrix in rows: right, up, towards the eye. `extent` is half of what is seen along the shorter side
 * of a view, in Å, so that what fits is seen whole in views of any shape.
 */
export class Camera extends EventTarget {
  rotation = [1, 0, 0, 0, 1, 0, 0, 0, 1];
  target = [0, 0, 0];
  extent = 100;
  #home = null;

  /** Look at a ball from a side (9 numbers, rows right, up, towards the eye), and call this home. */
  frame(center, radius, rotation) {
    this.#home = { center: [...center], radius, rotation: [...rotation] };
    this.home();
  }

  home() {
    if (!this.#home) return;
    this.target = [...this.#home.center];
    this.extent = this.#home.radius;
    this.rotation = [...this.#home.rotation];
    this.#changed();
  }

  /** Turn by angles in radians about the vertical and the horizontal of the screen. */
  turn(across, up) {
    const [ca, sa, cu, su] = [Math.cos(across), Math.sin(across), Math.cos(up), Math.sin(up)];
    const [right, above, eye] = [this.rotation.slice(0, 3), this.rotation.slice(3, 6), this.rotation.slice(6)];
    const turned = right.map((r, i) => r * ca + eye[i] * sa);
    const depth = eye.map((e, i) => e * ca - right[i] * sa);
    const upper = above.map((a, i) => a * cu - depth[i] * su);
    this.rotation = orthonormal(turned, upper);
    this.#changed();
  }

  zoom(factor) {
    this.extent = Math.min(Math.max(this.extent * factor, 1), 1e5);
    this.#changed();
  }

  /** Move what is seen by Å along the screen. */
  pan(right, up) {
    this.target = this.target.map((t, i) => t - right * this.rotation[i] - up * this.rotation[3 + i]);
    this.#changed();
  }

  /** Zoom in a view, with what lies at a place in it, in pixels from its corner, staying there. */
  zoomAt(left, top, factor, view) {
    const before = this.perPixel(view);
    this.zoom(factor);
    const grown = this.perPixel(view) - before;
    this.pan((left - view.width / 2) * grown, (view.height / 2 - top) * grown);
  }

  /** Å per pixel of a view of so many pixels. */
  perPixel({ width, height }) {
    return (2 * this.extent) / Math.max(Math.min(width, height), 1);
  }

  /** The 4 x 4 matrix, in columns, from Å to what is shown of a view `aspect` times as wide as high. */
  matrix(aspect) {
    const scale = [1 / Math.max(aspect, 1), Math.min(aspect, 1), -1 / 8].map((share) => share / this.extent);
    const m = new Float32Array(16);
    for (let row = 0; row < 3; row++) {
      let shift = 0;
      for (let i = 0; i < 3; i++) {
        m[4 * i + row] = this.rotation[3 * row + i] * scale[row];
        shift -= this.rotation[3 * row + i] * this.target[i];
      }
      m[12 + row] = shift * scale[row];
    }
    m[15] = 1;
    return m;
  }

  /**
   * Turn with the left button or one finger, move with the right one, Shift or two fingers, zoom with the wheel or two
   * fingers; arrows and + - 0 on the keys.
   */
  attach(element) {
    const fingers = new Fingers();
    const view = () => ({ width: element.clientWidth, height: element.clientHeight });
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      fingers.put(event);
    });
    element.addEventListener("pointermove", (event) => {
      const pixel = this.perPixel(view());
      if (fingers.count > 1) {
        const pinch = fingers.pinch(event);
        if (!pinch) return;
        this.pan(pinch.dx * pixel, -pinch.dy * pixel);
        this.zoomAt(pinch.left, pinch.top, 1 / pinch.spread, view());
        return;
      }
      const drag = fingers.drag(event);
      if (!drag) return;
      if (event.shiftKey || event.buttons & 6) this.pan(drag.dx * pixel, -drag.dy * pixel);
      else this.turn(-drag.dx * 0.01, -drag.dy * 0.01);
    });
    for (const ended of ["pointerup", "pointercancel"]) element.addEventListener(ended, (event) => fingers.lift(event));
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("dblclick", () => this.home());
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.0012));
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      const acts = {
        ArrowLeft: () => this.turn(0.12, 0), ArrowRight: () => this.turn(-0.12, 0),
        ArrowUp: () => this.turn(0, 0.12), ArrowDown: () => this.turn(0, -0.12),
        "+": () => this.zoom(0.9), "=": () => this.zoom(0.9), "-": () => this.zoom(1.1), 0: () => this.home(),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    });
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Rows right, up, eye from two directions that are nearly orthonormal. */
function orthonormal(right, up) {
  const unit = (v) => {
    const length = Math.hypot(...v);
    return v.map((c) => c / length);
  };
  const r = unit(right);
  const along = up[0] * r[0] + up[1] * r[1] + up[2] * r[2];
  const u = unit(up.map((c, i) => c - along * r[i]));
  return [...r, ...u, r[1] * u[2] - r[2] * u[1], r[2] * u[0] - r[0] * u[2], r[0] * u[1] - r[1] * u[0]];
}
