// Points as a picture of their density: they are counted per pixel, and the count is what is shaded.

const FADED = 0.12;

export class DensityImage {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
  }

  /**
   * Points `x`, `y` with colour `codes` into a `table` of 256 colours; those that `selected` (a byte each, or null) leaves
   * out are faded. A point lies `left + x * unit`, `top - y * unit` canvas pixels from the corner; `ratio` of these make
   * a CSS pixel.
   */
  paint(points, transform, ratio) {
    const { width, height } = this.canvas;
    const sums = this.#sums(width * height);
    const shape = stamp(Math.max(1, Math.round(pointSize(points.x.length) * ratio)));
    this.#count(sums, shape, points, transform);
    this.#shade(sums, width, height);
  }

  /** Per pixel: weight, red, green, blue, side by side so that a point touches one line of memory. */
  #sums(pixels) {
    if (this.sums?.length === 4 * pixels) this.sums.fill(0);
    else this.sums = new Float32Array(4 * pixels);
    return this.sums;
  }

  #count(sums, shape, { x, y, codes, table, selected }, { unit, left, top }) {
    const { width, height } = this.canvas;
    const single = shape.length === 1;
    for (let i = 0; i < x.length; i++) {
      const px = Math.floor(left + x[i] * unit);
      const py = Math.floor(top - y[i] * unit);
      // Also of a point whose place is not known yet, which is NaN.
      if (!(px >= 0 && py >= 0 && px < width && py < height)) continue;
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

  #shade(sums, width, height) {
    if (this.image?.width !== width || this.image.height !== height) this.image = this.pen.createImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer);
    const gain = this.#gain(sums);
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
    this.pen.putImageData(this.image, 0, 0);
  }

  /** Opacity per point, such that the densest fiftieth of the covered pixels is nearly opaque. */
  #gain(sums) {
    const seen = [];
    for (let at = 0; at < sums.length; at += 4 * 37) if (sums[at] > 0) seen.push(sums[at]);
    if (!seen.length) return 1;
    seen.sort((a, b) => a - b);
    return 2.2 / Math.max(seen[Math.floor(0.98 * (seen.length - 1))], 1);
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
