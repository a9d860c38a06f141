// Marching cubes: the surface where a volume crosses a level, with normals from its gradient.
//
// The cases are worked out, not tabulated: on every face of a cube, each run of corners inside is cut off by a segment;
// the segments of the six faces close to loops, and a loop is filled with a fan of triangles. The rule looks only at the
// face, so two cubes that share one agree about it, and the surface has no holes.

// Corner i of a cube lies at (i & 1, i >> 1 & 1, i >> 2 & 1). Each face lists its corners counter-clockwise from outside.
const FACES = [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]];
const EDGES = [];
for (let axis = 0; axis < 3; axis++) {
  for (let corner = 0; corner < 8; corner++) if (!(corner >> axis & 1)) EDGES.push([corner, corner | 1 << axis]);
}
const EDGE_OF = new Map(EDGES.flatMap(([a, b], edge) => [[8 * a + b, edge], [8 * b + a, edge]]));
const CASES = Array.from({ length: 256 }, (_, inside) => triangles(inside));

/** Triangles, as triples of edges, of a cube whose corners in the bit mask are inside. */
function triangles(inside) {
  const after = new Map();
  const isIn = (corner) => inside >> corner & 1;
  for (const face of FACES) {
    for (let i = 0; i < 4; i++) {
      const [from, to] = [face[i], face[(i + 1) % 4]];
      if (isIn(from) || !isIn(to)) continue;
      let last = (i + 1) % 4;
      while (isIn(face[(last + 1) % 4])) last = (last + 1) % 4;
      after.set(EDGE_OF.get(8 * from + to), EDGE_OF.get(8 * face[last] + face[(last + 1) % 4]));
    }
  }
  const found = [];
  while (after.size) {
    const loop = [after.keys().next().value];
    for (let edge = loop[0]; after.has(edge);) {
      const next = after.get(edge);
      after.delete(edge);
      if (next !== loop[0]) loop.push(next);
      edge = next;
    }
    for (let i = 1; i + 1 < loop.length; i++) found.push(loop[0], loop[i], loop[i + 1]);
  }
  return Uint8Array.from(found);
}

/** Grows as vertices and triangles come. */
class Mesh {
  constructor(coloured) {
    this.count = 0;
    this.indexCount = 0;
    this.positions = new Float32Array(3 * 16384);
    this.normals = new Int8Array(4 * 16384);
    this.colours = coloured ? new Uint8Array(16384) : null;
    this.indices = new Uint32Array(6 * 16384);
  }

  vertex() {
    if (this.count * 3 === this.positions.length) {
      this.positions = doubled(this.positions);
      this.normals = doubled(this.normals);
      this.colours &&= doubled(this.colours);
    }
    return this.count++;
  }

  triangle(a, b, c) {
    if (this.indexCount + 3 > this.indices.length) this.indices = doubled(this.indices);
    this.indices[this.indexCount] = a;
    this.indices[this.indexCount + 1] = b;
    this.indices[this.indexCount + 2] = c;
    this.indexCount += 3;
  }
}

function doubled(array) {
  const longer = new array.constructor(2 * array.length);
  longer.set(array);
  return longer;
}

/**
 * The surface of `values` at `level`, in units of the values.
 *
 * `shape` is [nz, ny, nx]; voxel (x, y, z) lies at `origin + pixelSize (x, y, z)`. `colour` is another volume of the same
 * shape, or null. Gives `positions` (3 each), `normals` (4 bytes each, outwards), `colours` (1 byte each) or null, and
 * `indices` of triangles that are counter-clockwise from outside.
 */
export function isosurface(values, shape, level, origin, pixelSize, colour) {
  const [nz, ny, nx] = shape;
  const strides = [1, nx, nx * ny];
  const limits = [nx - 1, ny - 1, nz - 1];
  const mesh = new Mesh(colour !== null);
  // Vertices on edges along x and y of two neighbouring layers, and along z between them.
  const layer = () => [0, 1].map(() => new Int32Array(nx * ny));
  const [alongX, alongY, alongZ] = [layer(), layer(), new Int32Array(nx * ny)];
  const onEdge = new Int32Array(12);
  const slope = (at, where, axis) => {
    const up = where < limits[axis] ? values[at + strides[axis]] : values[at];
    return up - (where > 0 ? values[at - strides[axis]] : values[at]);
  };

  /** The four corners of a cube that share an x, in the bits of their places. */
  function side(at) {
    return (values[at] >= level ? 1 : 0) | (values[at + nx] >= level ? 4 : 0)
      | (values[at + strides[2]] >= level ? 16 : 0) | (values[at + nx + strides[2]] >= level ? 64 : 0);
  }

  function place(at, x, y, z, axis) {
    const other = at + strides[axis];
    const t = (level - values[at]) / (values[other] - values[at]);
    const vertex = mesh.vertex();
    const { positions, normals } = mesh;
    positions[3 * vertex] = origin[0] + pixelSize * (x + (axis === 0 ? t : 0));
    positions[3 * vertex + 1] = origin[1] + pixelSize * (y + (axis === 1 ? t : 0));
    positions[3 * vertex + 2] = origin[2] + pixelSize * (z + (axis === 2 ? t : 0));
    const a = slope(at, x, 0) * (1 - t) + slope(other, x + (axis === 0), 0) * t;
    const b = slope(at, y, 1) * (1 - t) + slope(other, y + (axis === 1), 1) * t;
    const c = slope(at, z, 2) * (1 - t) + slope(other, z + (axis === 2), 2) * t;
    const unit = -127 / (Math.sqrt(a * a + b * b + c * c) || 1);
    normals[4 * vertex] = a * unit;
    normals[4 * vertex + 1] = b * unit;
    normals[4 * vertex + 2] = c * unit;
    if (colour) mesh.colours[vertex] = colour[at] * (1 - t) + colour[other] * t;
    return vertex + 1;
  }

  for (let z = 0; z < nz - 1; z++) {
    const [here, above] = [z & 1, 1 - (z & 1)];
    alongX[above].fill(0);
    alongY[above].fill(0);
    alongZ.fill(0);
    for (let y = 0; y < ny - 1; y++) {
      let at = (z * ny + y) * nx;
      let right = side(at);
      for (let x = 0; x < nx - 1; x++, at++) {
        const left = right;
        right = side(at + 1);
        const inside = left | right << 1;
        if (inside === 0 || inside === 255) continue;
        const found = CASES[inside];
        for (let i = 0; i < found.length; i++) {
          const edge = found[i];
          const corner = EDGES[edge][0];
          const [dx, dy, dz] = [corner & 1, corner >> 1 & 1, corner >> 2];
          const axis = edge >> 2;
          const kept = axis === 2 ? alongZ : (axis === 0 ? alongX : alongY)[dz ? above : here];
          const cell = (y + dy) * nx + x + dx;
          kept[cell] ||= place(at + dx + dy * nx + dz * strides[2], x + dx, y + dy, z + dz, axis);
          onEdge[edge] = kept[cell] - 1;
        }
        for (let i = 0; i < found.length; i += 3) {
          mesh.triangle(onEdge[found[i]], onEdge[found[i + 1]], onEdge[found[i + 2]]);
        }
      }
    }
  }
  return {
    positions: mesh.positions.slice(0, 3 * mesh.count),
    normals: mesh.normals.slice(0, 4 * mesh.count),
    colours: mesh.colours && mesh.colours.slice(0, mesh.count),
    indices: mesh.indices.slice(0, mesh.indexCount),
  };
}
