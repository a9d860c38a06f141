// The pictures of mesh_painter.js without WebGL: triangle by triangle and ball by ball, with a depth buffer of our own;
// slower and without smooth edges.

export class CanvasPainter {
  kind = "canvas";
  #content = { surface: null, solids: null, points: null };

  constructor(canvas) {
    this.context = canvas.getContext("2d");
    this.canvas = canvas;
  }

  load(layer, content) {
    this.#content[layer] = content;
  }

  finish() { /* a canvas is painted when paint() returns */ }

  paint(camera, look) {
    const { width, height } = this.canvas;
    const image = this.context.createImageData(width, height);
    const behind = new Sheet(width, height, new Uint32Array(image.data.buffer));
    behind.pixels.fill(packed(look.behind.map((c) => c * 255)));
    const view = projection(camera, width, height);
    const { surface, solids, points } = this.#content;
    if (points) paintBalls(behind, view, points);
    if (solids) paintMesh(behind, view, solids, (a) => solids.paints.subarray(4 * a, 4 * a + 3));
    if (surface && look.surface === "whole") paintMesh(behind, view, surface, coloursOf(surface, look));
    if (surface && look.surface === "seeThrough") {
      const before = new Sheet(width, height, new Uint32Array(width * height));
      paintMesh(before, view, surface, coloursOf(surface, look));
      blend(behind, before, 0.45);
    }
    this.context.putImageData(image, 0, 0);
  }
}

/** Pixels, and how far away what each shows is. */
class Sheet {
  constructor(width, height, pixels) {
    Object.assign(this, { width, height, pixels, nearest: new Float32Array(width * height).fill(Infinity) });
  }
}

/** From Å to pixels and depth: rows of x, y, z, each with its shift; and the rotation of normals. */
function projection(camera, width, height) {
  const m = camera.matrix(width / height);
  const row = (i, scale, shift) => [m[i] * scale, m[4 + i] * scale, m[8 + i] * scale, m[12 + i] * scale + shift];
  return {
    rows: [row(0, width / 2, width / 2), row(1, -height / 2, height / 2), row(2, 1, 0)],
    rotation: camera.rotation,
    pixelsPerAngstrom: 1 / camera.perPixel({ width, height }),
    depthPerAngstrom: 1 / (8 * camera.extent),
  };
}

function projected({ rows }, positions) {
  const count = positions.length / 3;
  return rows.map(([a, b, c, shift]) => {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = a * positions[3 * i] + b * positions[3 * i + 1] + c * positions[3 * i + 2] + shift;
    return out;
  });
}

const KEY = [0.35, 0.5, 0.8];
const light = (x, y, z) => 0.45 + 0.62 * Math.abs(KEY[0] * x + KEY[1] * y + KEY[2] * z);

/** The colour of the surface at a vertex, as three numbers up to 255. */
function coloursOf({ colours }, { table, plain, limits }) {
  const one = plain.map((c) => c * 255);
  if (!table || !colours) return () => one;
  return (a) => {
    const value = (colours[a] - limits[0]) / (limits[1] - limits[0]);
    const at = 4 * Math.round(Math.min(Math.max(value, 0), 1) * 255);
    return table.subarray(at, at + 3);
  };
}

function paintMesh({ width, height, pixels, nearest }, view, { positions, normals, indices }, colourAt) {
  const [x, y, z] = projected(view, positions);
  const r = view.rotation;
  const shade = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const [a, b, c] = [normals[4 * i] / 127, normals[4 * i + 1] / 127, normals[4 * i + 2] / 127];
    shade[i] = light(r[0] * a + r[1] * b + r[2] * c, r[3] * a + r[4] * b + r[5] * c, r[6] * a + r[7] * b + r[8] * c);
  }
  for (let t = 0; t < indices.length; t += 3) {
    const [a, b, c] = [indices[t], indices[t + 1], indices[t + 2]];
    const area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a]);
    if (!area) continue;
    const own = colourAt(a);
    const x0 = Math.max(0, Math.floor(Math.min(x[a], x[b], x[c])));
    const x1 = Math.min(width - 1, Math.ceil(Math.max(x[a], x[b], x[c])));
    const y0 = Math.max(0, Math.floor(Math.min(y[a], y[b], y[c])));
    const y1 = Math.min(height - 1, Math.ceil(Math.max(y[a], y[b], y[c])));
    for (let py = y0; py <= y1; py++) {
      for (let px = x0; px <= x1; px++) {
        const u = ((px - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (py - y[a])) / area;
        const v = ((x[b] - x[a]) * (py - y[a]) - (px - x[a]) * (y[b] - y[a])) / area;
        if (u < -0.02 || v < -0.02 || u + v > 1.02) continue;
        const depth = z[a] + u * (z[b] - z[a]) + v * (z[c] - z[a]);
        const at = py * width + px;
        if (depth >= nearest[at]) continue;
        nearest[at] = depth;
        pixels[at] = lit(own, shade[a] + u * (shade[b] - shade[a]) + v * (shade[c] - shade[a]));
      }
    }
  }
}

function paintBalls({ width, height, pixels, nearest }, view, { positions, paints, radius }) {
  const [x, y, z] = projected(view, positions);
  const reach = Math.max(radius * view.pixelsPerAngstrom, 0.5);
  const thick = radius * view.depthPerAngstrom;
  for (let i = 0; i < x.length; i++) {
    const own = paints.subarray(4 * i, 4 * i + 3);
    const [x1, y1] = [Math.min(width - 1, Math.floor(x[i] + reach)), Math.min(height - 1, Math.floor(y[i] + reach))];
    for (let py = Math.max(0, Math.ceil(y[i] - reach)); py <= y1; py++) {
      for (let px = Math.max(0, Math.ceil(x[i] - reach)); px <= x1; px++) {
        const [a, b] = [(px - x[i]) / reach, (y[i] - py) / reach];
        const left = 1 - a * a - b * b;
        if (left < 0) continue;
        const c = Math.sqrt(left);
        const depth = z[i] - c * thick;
        const at = py * width + px;
        if (depth >= nearest[at]) continue;
        nearest[at] = depth;
        pixels[at] = lit(own, light(a, b, c));
      }
    }
  }
}

/** Lay one sheet over another where it is nearer; `share` is how much of it is seen. */
function blend(behind, before, share) {
  const mixed = (a, b, shift) => Math.round((a >> shift & 255) * (1 - share) + (b >> shift & 255) * share) << shift;
  for (let at = 0; at < behind.pixels.length; at++) {
    if (before.nearest[at] >= behind.nearest[at]) continue;
    const [a, b] = [behind.pixels[at], before.pixels[at]];
    behind.pixels[at] = (255 << 24 | mixed(a, b, 16) | mixed(a, b, 8) | mixed(a, b, 0)) >>> 0;
  }
}

function lit(own, bright) {
  return packed([own[0] * bright, own[1] * bright, own[2] * bright]);
}

function packed([r, g, b]) {
  return (255 << 24 | Math.min(255, b) << 16 | Math.min(255, g) << 8 | Math.min(255, r)) >>> 0;
}
