// Bodies that are painted beside the surface: arrows, and the cells of a mesh. They bring their own colours.

const circle = (sides) => Array.from({ length: sides }, (_, i) => {
  const angle = (2 * Math.PI * i) / sides;
  return [Math.cos(angle), Math.sin(angle)];
});
const ROUND = circle(6);
const SQUARE = circle(4);

/** Triangles with flat or round shading, gathered one body at a time, of at most so many vertices and triangles. */
class Solids {
  count = 0;
  corners = 0;

  constructor(vertices, triangles) {
    this.positions = new Float32Array(3 * vertices);
    this.normals = new Int8Array(4 * vertices);
    this.paints = new Uint8Array(4 * vertices).fill(255);
    this.indices = new Uint32Array(3 * triangles);
  }

  vertex(x, y, z, [a, b, c], colour) {
    const at = this.count++;
    this.positions.set([x, y, z], 3 * at);
    this.normals.set([127 * a, 127 * b, 127 * c], 4 * at);
    this.paints[4 * at] = colour[0];
    this.paints[4 * at + 1] = colour[1];
    this.paints[4 * at + 2] = colour[2];
    return at;
  }

  triangle(a, b, c) {
    this.indices[this.corners++] = a;
    this.indices[this.corners++] = b;
    this.indices[this.corners++] = c;
  }

  /** A cone cut off between two circles about an axis; a radius may be 0. */
  cone(from, to, wide, narrow, [u, v], colour, round = ROUND) {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1], to[2] - from[2]) || 1;
    const lean = (wide - narrow) / length ** 2;
    const size = Math.hypot(1, lean * length);
    const first = this.count;
    for (const [c, s] of round) {
      const out = [0, 1, 2].map((k) => c * u[k] + s * v[k]);
      const normal = out.map((value, k) => (value + lean * (to[k] - from[k])) / size);
      this.vertex(from[0] + wide * out[0], from[1] + wide * out[1], from[2] + wide * out[2], normal, colour);
      this.vertex(to[0] + narrow * out[0], to[1] + narrow * out[1], to[2] + narrow * out[2], normal, colour);
    }
    for (let i = 0; i < round.length; i++) {
      const [a, b] = [first + 2 * i, first + 2 * ((i + 1) % round.length)];
      this.triangle(a, b, b + 1);
      this.triangle(a, b + 1, a + 1);
    }
  }

  /** A flat disc that closes a cone, seen from behind. */
  lid(middle, radius, along, [u, v], colour) {
    const normal = along.map((value) => -value);
    const centre = this.vertex(...middle, normal, colour);
    for (const [c, s] of ROUND) {
      this.vertex(...middle.map((value, k) => value + radius * (c * u[k] + s * v[k])), normal, colour);
    }
    for (let i = 0; i < ROUND.length; i++) {
      this.triangle(centre, centre + 1 + ((i + 1) % ROUND.length), centre + 1 + i);
    }
  }

  mesh() {
    return {
      positions: this.positions.subarray(0, 3 * this.count), normals: this.normals.subarray(0, 4 * this.count),
      paints: this.paints.subarray(0, 4 * this.count), indices: this.indices.subarray(0, this.corners),
    };
  }
}

/** Two directions across a unit vector, and across each other. */
function across(along) {
  const least = along.map(Math.abs).reduce((best, value, k, all) => (value < all[best] ? k : best), 0);
  const u = unit(cross(along, [0, 1, 2].map((k) => Number(k === least))));
  return [u, cross(along, u)];
}

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

/**
 * Arrows as a mesh. `arrows` holds where each begins and how far it goes, six numbers in Å; they are drawn `times` as
 * long, with shafts of `radius` Å; `colourOf(length)` gives the colour of a true length. Those hardly longer than they are
 * thick are left out.
 */
export function arrowMesh(arrows, times, radius, colourOf) {
  const count = arrows.length / 6;
  const solids = new Solids(count * (4 * ROUND.length + 2 * (ROUND.length + 1)), count * 6 * ROUND.length);
  for (let i = 0; i < arrows.length; i += 6) {
    const from = [...arrows.subarray(i, i + 3)];
    const move = [...arrows.subarray(i + 3, i + 6)];
    const length = Math.hypot(...move);
    if (length * times < 4 * radius) continue;
    const along = unit(move);
    const sides = across(along);
    const colour = colourOf(length);
    const at = (distance) => from.map((value, k) => value + distance * along[k]);
    const neck = at(length * times - Math.min(5 * radius, 0.6 * length * times));
    solids.lid(from, radius, along, sides, colour);
    solids.cone(from, neck, radius, radius, sides, colour);
    solids.lid(neck, 2.3 * radius, along, sides, colour);
    solids.cone(neck, at(length * times), 2.3 * radius, 0, sides, colour);
  }
  return solids.mesh();
}

/**
 * The outer faces of a mesh of cells with their edges, or only the edges. `places` are its vertices in Å, `faces` triples
 * of them; `colourOf(vertex, face)` gives colours; edges are bars of `radius` Å, darker than the faces.
 */
export function cellMesh(places, faces, segment, colourOf, radius, filled) {
  const count = segment.length;
  // Faces of a closed surface share their edges in pairs; of an open one, perhaps not.
  const solids = new Solids(count * (3 + 6 * SQUARE.length), count * (1 + 6 * SQUARE.length));
  const vertices = places.length / 3;
  const seen = new Set();
  const bright = filled ? 0.45 : 1;
  for (let face = 0; face < count; face++) {
    const corners = [0, 1, 2].map((k) => faces[3 * face + k]);
    const points = corners.map((vertex) => [...places.subarray(3 * vertex, 3 * vertex + 3)]);
    const sides = [0, 1, 2].map((k) => points[(k + 1) % 3].map((value, i) => value - points[k][i]));
    if (filled) {
      const normal = unit(cross(sides[0], sides[1]));
      const [a, b, c] = points.map((point, k) => solids.vertex(...point, normal, colourOf(corners[k], face)));
      solids.triangle(a, b, c);
    }
    for (let k = 0; k < 3; k++) {
      const [a, b] = [corners[k], corners[(k + 1) % 3]];
      const name = (segment[face] * vertices + Math.min(a, b)) * vertices + Math.max(a, b);
      if (seen.has(name)) continue;
      seen.add(name);
      const colour = [...colourOf(a, face)].map((value) => bright * value);
      solids.cone(points[k], points[(k + 1) % 3], radius, radius, across(unit(sides[k])), colour, SQUARE);
    }
  }
  return solids.mesh();
}
