// Small islands of a surface, which are noise more often than not.

const SMALLEST = 0.02;

/** The triangles of a mesh without its parts that have fewer than a fiftieth of the triangles of its largest part. */
export function withoutIslands(indices, vertices) {
  const parent = Uint32Array.from({ length: vertices }, (_, i) => i);
  const root = (i) => {
    while (parent[i] !== i) {
      parent[i] = parent[parent[i]];
      i = parent[i];
    }
    return i;
  };
  for (let t = 0; t < indices.length; t += 3) {
    const a = root(indices[t]);
    parent[root(indices[t + 1])] = a;
    parent[root(indices[t + 2])] = a;
  }
  const sizes = new Uint32Array(vertices);
  for (let t = 0; t < indices.length; t += 3) sizes[root(indices[t])] += 1;
  const least = SMALLEST * sizes.reduce((largest, size) => Math.max(largest, size), 0);
  const kept = new Uint32Array(indices.length);
  let count = 0;
  for (let t = 0; t < indices.length; t += 3) {
    if (sizes[root(indices[t])] < least) continue;
    kept.set(indices.subarray(t, t + 3), count);
    count += 3;
  }
  return kept.slice(0, count);
}
