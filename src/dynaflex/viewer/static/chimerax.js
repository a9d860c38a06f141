// A path as a series of maps for ChimeraX, beside the scripts that the server writes.
import { layer } from "./bodies.js";

/**
 * Files {name, bytes} of volumes (messages of the server): maps on one grid under the names that the server `told`, maps of
 * colours if it names some, and its texts.
 */
export function chimeraxFiles(volumes, told) {
  const frame = common(volumes);
  const files = volumes.map((volume, i) => ({
    name: told.maps[i], bytes: mrc(volume, frame, layer(volume, "density"), 0, volume.step, told.center),
  }));
  told.colours.forEach((name, i) => {
    const [low, high] = volumes[i].colour_limits;
    const counts = layer(volumes[i], "colour");
    files.push({ name, bytes: mrc(volumes[i], frame, counts, low, (high - low) / 255, told.center) });
  });
  const text = Object.entries(told.texts).map(([name, words]) => ({ name, bytes: new TextEncoder().encode(words) }));
  return [...files, ...text];
}

/** The smallest grid that holds every volume: its first voxel, in voxels of the volumes, and its shape x, y, z. */
function common(volumes) {
  const starts = volumes.map(({ origin, pixel_size: pixel }) => origin.map((value) => Math.round(value / pixel)));
  const ends = volumes.map(({ arrays }, i) => [...arrays[0].shape].reverse().map((side, k) => starts[i][k] + side));
  const first = [0, 1, 2].map((k) => Math.min(...starts.map((start) => start[k])));
  return { first, shape: first.map((low, k) => Math.max(...ends.map((end) => end[k])) - low), starts };
}

/** Counts of a volume as the bytes of an MRC file, mode 2, 0 where there are none. The box centre lies at `center` in Å. */
function mrc(volume, { first, shape }, counts, least, step, center) {
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
        const value = least + counts[(z * my + y) * mx + x] * step;
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
    header.setFloat32(196 + 4 * k, center[k] + value - [x0, y0, z0][k] * pixel, true);
  });
  bytes.set(new TextEncoder().encode("MAP "), 208);
  bytes.set([0x44, 0x44, 0, 0], 212);
  return bytes;
}
