// What lies over a surface: scale bar, scale of colours, key of the arrows, and what is shown; on the page and in pictures.
import { tableOf } from "./bodies.js";
import { brief, classColour, roundStep, themed } from "./colours.js";

const WIDTH = 180;

/** Elements over `element`, which `tell` brings up to date and `paintOnto` copies to a picture. */
export class Overlay {
  constructor(element) {
    this.element = element.appendChild(document.createElement("div"));
    this.element.className = "overlay";
    this.element.innerHTML =
      '<div class="arrow-key" hidden><span></span><i></i></div><div class="bar"><i></i><span></span></div>'
      + '<div class="legend"><b></b><i></i><span></span><span></span></div>'
      + '<p class="note" hidden></p><p class="alone" hidden></p><p class="caption" hidden></p>';
  }

  /** Say that something is degraded. */
  warn(text) {
    this.#part(".note").hidden = false;
    this.#part(".note").textContent = text;
  }

  /**
   * `perPixel` are Å; `legend` has `title`, `id` of a scale or a number of `classes`, and `limits`, or is null; `times` is
   * how much longer than the motion arrows are, or null without arrows; `caption` says what is shown, and `alone` that no
   * particle is like it.
   */
  tell({ perPixel, width, legend, times, caption, alone }) {
    this.bar = keyLength(perPixel, width / 5, "Å");
    this.arrow = times === null ? null : keyLength(perPixel / times, width / 8, times === 1 ? "Å moved" : `Å moved, drawn ×${brief(times)}`);
    Object.assign(this, { legend, caption, alone });
    place(this.#part(".bar"), this.bar);
    this.#part(".arrow-key").hidden = !this.arrow;
    if (this.arrow) place(this.#part(".arrow-key"), this.arrow);
    for (const [name, text] of [[".caption", caption], [".alone", alone]]) {
      this.#part(name).hidden = !text;
      this.#part(name).textContent = text;
    }
    this.#part(".legend").hidden = !legend;
    if (!legend) return;
    const [title, strip, low, high] = this.#part(".legend").children;
    title.textContent = legend.title;
    strip.style.background = `linear-gradient(to right, ${stops(legend).map(([share, css]) => `${css} ${100 * share}%`).join(", ")})`;
    [low.textContent, high.textContent] = legend.limits.map(brief);
  }

  /** Draw the same with a pen onto a picture of so many CSS pixels. */
  paintOnto(pen, width, height) {
    const bottom = height - 16;
    pen.fillStyle = pen.strokeStyle = themed("--ink");
    pen.font = "13px system-ui, sans-serif";
    pen.fillRect(16, bottom, this.bar.pixels, 3);
    pen.fillText(this.bar.text, 16, bottom - 6);
    if (this.arrow) {
      const [end, y] = [16 + this.arrow.pixels, bottom - 32];
      pen.fillRect(16, y, this.arrow.pixels - 8, 3);
      pen.beginPath();
      for (const [x, dy] of [[end, 1.5], [end - 10, -4], [end - 10, 7]]) pen.lineTo(x, y + dy);
      pen.fill();
      pen.fillText(this.arrow.text, 16, y - 8);
    }
    if (this.alone) pen.fillText(this.alone, 16, 24);
    if (this.caption) pen.fillText(this.caption, 16, this.alone ? 44 : 24);
    if (!this.legend) return;
    const left = width - WIDTH - 16;
    const colours = pen.createLinearGradient(left, 0, left + WIDTH, 0);
    for (const [share, css] of stops(this.legend)) colours.addColorStop(share, css);
    pen.fillStyle = colours;
    pen.fillRect(left, bottom - 14, WIDTH, 8);
    pen.fillStyle = themed("--ink");
    const [low, high] = this.legend.limits.map(brief);
    pen.fillText(low, left, bottom + 8);
    pen.textAlign = "right";
    pen.fillText(this.legend.title, left + WIDTH, bottom - 20);
    pen.fillText(high, left + WIDTH, bottom + 8);
    pen.textAlign = "left";
  }

  #part(name) {
    return this.element.querySelector(name);
  }
}

/** A round length of at most so many pixels, how many it has, and its name. */
function keyLength(perPixel, most, unit) {
  const length = roundStep(most * perPixel);
  return { pixels: length / perPixel, text: `${brief(length)} ${unit}` };
}

function place(element, { pixels, text }) {
  element.querySelector("i").style.width = `${pixels}px`;
  element.querySelector("span").textContent = text;
}

/** The colours of a legend from left to right, as pairs of a share of its width and a colour; classes change at once. */
function stops({ id, classes }) {
  const css = (colour) => `rgb(${[...colour].join(", ")})`;
  if (!classes) return Array.from({ length: 18 }, (_, i) => [i / 17, css(tableOf(id).subarray(60 * i, 60 * i + 3))]);
  return Array.from({ length: classes }, (_, i) => [i, i + 1].map((edge) => [edge / classes, css(classColour(i))])).flat();
}
