// A path as a series of maps and the script that plays it in ChimeraX.

/** Files {name, bytes} of volumes (messages of the server) cut at a level: maps on one grid, script, latents. */
export function chimeraxFiles(volumes, level) {
  const text = (name, lines) => ({ name, bytes: new TextEncoder().encode(lines.join("\n") + "\n") });
  const frame = common(volumes);
  const names = volumes.map((_, i) => `frame_${String(i).padStart(3, "0")}.mrc`);
  const script = [
    "set bgColor white",
    `open ${names.join(" ")} vseries true`,
    `volume #1 style surface step 1 level ${level.toPrecision(6)} color cornflowerblue`,
    "surface dust all size 10",
    "lighting soft",
    "view",
    "movie record supersample 3",
    "vseries play #1 direction oscillate loop false",
    `wait ${2 * volumes.length}`,
    "movie encode motion.mp4 framerate 24 quality high",
  ];
  const latents = volumes.map((volume) => volume.z.map((value) => value.toPrecision(8)).join(","));
  return [
    ...volumes.map((volume, i) => ({ name: names[i], bytes: mrc(volume, frame) })),
    text("motion.cxc", script),
    text("latents.csv", latents),
  ];
}

/** The smallest grid that holds every volume: its first voxel, in voxels of the volumes, and its shape x, y, z. */
function common(volumes) {
  const starts = volumes.map(({ origin, pixel_size: pixel }) => origin.map((value) => Math.round(value / pixel)));
  const ends = volumes.map(({ arrays }, i) => [...arrays[0].shape].reverse().map((side, k) => starts[i][k] + side));
  const first = [0, 1, 2].map((k) => Math.min(...starts.map((start) => start[k])));
  return { first, shape: first.map((low, k) => Math.max(...ends.map((end) => end[k])) - low), starts };
}

/** A map as the bytes of an MRC file, mode 2, with its place in Å as the origin. */
function mrc(volume, { first, shape }) {
  const [nx, ny, nz] = shape;
  const pixel = volume.pixel_size;
  const bytes = new Uint8Array(1024 + 4 * nx * ny * nz);
  const header = new DataView(bytes.buffer);
  const out = new Float32Array(bytes.buffer, 1024);
  const [mz, my, mx] = volume.arrays[0].shape;
  const [x0, y0, z0] = volume.origin.map((value, k) => Math.round(value / pixel) - first[k]);
  let [sum, top] = [0, 0];
  for (let z = 0; z < mz; z++) {
    for (let y = 0; y < my; y++) {
      for (let x = 0; x < mx; x++) {
        const value = volume.data[0][(z * my + y) * mx + x] * volume.step;
        out[((z + z0) * ny + y + y0) * nx + x + x0] = value;
        sum += value;
        top = Math.max(top, value);
      }
    }
  }
  [nx, ny, nz, 2].forEach((value, i) => header.setInt32(4 * i, value, true));
  [nx, ny, nz].forEach((value, i) => header.setInt32(28 + 4 * i, value, true));
  [nx, ny, nz].forEach((value, i) => header.setFloat32(40 + 4 * i, value * pixel, true));
  [90, 90, 90].forEach((value, i) => header.setFloat32(52 + 4 * i, value, true));
  [1, 2, 3].forEach((value, i) => header.setInt32(64 + 4 * i, value, true));
  [0, top, sum / (nx * ny * nz)].forEach((value, i) => header.setFloat32(76 + 4 * i, value, true));
  header.setInt32(88, 1, true);
  header.setInt32(108, 20141, true);
  // Exactly, not rounded to voxels: the whole of the first voxel's place.
  volume.origin.forEach((value, k) => {
    header.setFloat32(196 + 4 * k, value - [x0, y0, z0][k] * pixel, true);
  });
  bytes.set(new TextEncoder().encode("MAP "), 208);
  bytes.set([0x44, 0x44, 0, 0], 212);
  return bytes;
}
