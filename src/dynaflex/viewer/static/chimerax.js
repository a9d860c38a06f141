// A path as a series of maps and the scripts that play it in ChimeraX.
import { layer } from "./bodies.js";
import { paletteOf } from "./colours.js";

/**
 * Files {name, bytes} of volumes (messages of the server) cut at the `level` of a view: maps on one grid, script, latents, and
 * how many particles are near each.
 *
 * Where the view has colours or arrows there are maps of colours, arrows as .bild, and a second script that shows them.
 */
export function chimeraxFiles(volumes, view) {
  const frame = common(volumes);
  const numbered = (kind, ending) => volumes.map((_, i) => `${kind}_${String(i).padStart(3, "0")}.${ending}`);
  const maps = numbered("frame", "mrc");
  const alone = volumes.flatMap(({ near }, i) => (near === 0 ? [maps[i]] : []));
  const script = [
    ...(alone.length ? [`# no particle is near ${alone.join(" ")}`] : []),
    "set bgColor white",
    `open ${maps.join(" ")} vseries true`,
    `volume #1 style surface step 1 level ${view.level.toPrecision(6)} color cornflowerblue`,
    "surface dust all size 10",
    "lighting soft",
    "view",
    "movie record supersample 3",
    "vseries play #1 direction oscillate loop false",
    `wait ${2 * volumes.length}`,
    "movie encode motion.mp4 framerate 24 quality high",
  ];
  const latents = volumes.map((volume) => volume.z.map((value) => value.toPrecision(8)).join(","));
  const nearby = volumes.map(({ half, near, within }, i) => [maps[i], half, near, within].join(","));
  const files = [
    ...volumes.map((volume, i) => ({ name: maps[i], bytes: mrc(volume, frame, layer(volume, "density"), 0, volume.step) })),
    text("motion.cxc", script),
    text("latents.csv", latents),
    text("particles_near.csv", ["map,half,particles,within", ...nearby]),
  ];
  const coloured = volumes.every((volume) => layer(volume, "colour"));
  const moved = volumes.every((volume) => layer(volume, "arrows"));
  if (!coloured && !moved) return files;
  const colours = coloured ? numbered("colour", "mrc") : null;
  const arrows = moved ? numbered("arrows", "bild") : null;
  volumes.forEach((volume, i) => {
    if (colours) {
      const [low, high] = volume.colour_limits;
      files.push({ name: colours[i], bytes: mrc(volume, frame, layer(volume, "colour"), low, (high - low) / 255) });
    }
    if (arrows) files.push(text(arrows[i], bild(layer(volume, "arrows"), view.drawnTimes, 0.0045 * volume.width)));
  });
  return [...files, text("motion_coloured.cxc", colouredScript({ maps, colours, arrows }, volumes[0].colour, view))];
}

function text(name, lines) {
  return { name, bytes: new TextEncoder().encode(lines.join("\n") + "\n") };
}

/** A script that shows one model a frame, coloured by the map of its own, with its arrows. */
function colouredScript({ maps, colours, arrows }, colour, view) {
  const [COLOUR, ARROWS] = [1000, 2000];
  const last = maps.length;
  const all = `#1-${last}${arrows ? `,${ARROWS + 1}-${ARROWS + last}` : ""}`;
  const lines = ["set bgColor white"];
  maps.forEach((name, i) => lines.push(`open ${name} id ${i + 1}`));
  lines.push(`volume #1-${last} style surface step 1 level ${view.level.toPrecision(6)} color lightsteelblue`);
  lines.push(`surface dust #1-${last} size 10`);
  if (colours) {
    const range = view.limits.map((value) => value.toPrecision(6)).join(",");
    lines.push(`# ${colour.label}, ${colour.unit}: ${range}`);
    colours.forEach((name, i) => lines.push(
      `open ${name} id ${COLOUR + i + 1}`, `hide #${COLOUR + i + 1} models`,
      `color sample #${i + 1} map #${COLOUR + i + 1} palette ${paletteOf(colour.id)} range ${range}`,
    ));
  }
  if (arrows) {
    lines.push(`# arrows are ${view.drawnTimes} times as long as the motion`);
    arrows.forEach((name, i) => lines.push(`open ${name} id ${ARROWS + i + 1}`));
    lines.push(`transparency #1-${last} 50`);
  }
  lines.push("lighting soft", "view", `hide ${all} models`, "movie record supersample 3");
  const there = maps.map((_, i) => i + 1);
  for (const i of [...there, ...there.slice(1, -1).reverse()]) {
    const one = `#${i}${arrows ? `,${ARROWS + i}` : ""} models`;
    lines.push(`show ${one}`, "wait 2", `hide ${one}`);
  }
  return [...lines, "show #1 models", "movie encode motion_coloured.mp4 framerate 24 quality high"];
}

/** Arrows as ChimeraX draws them: begin, end, radii of shaft and head, and the share of the shaft. */
function bild(arrows, times, radius) {
  const lines = [".color 0.78 0.31 0.18"];
  for (let i = 0; i < arrows.length; i += 6) {
    const [from, move] = [arrows.subarray(i, i + 3), arrows.subarray(i + 3, i + 6)];
    if (Math.hypot(...move) * times < 4 * radius) continue;
    const end = from.map((value, k) => value + times * move[k]);
    lines.push(`.arrow ${[...from, ...end].map((value) => value.toFixed(3)).join(" ")} ${radius.toFixed(3)} ${(2.3 * radius).toFixed(3)} 0.7`);
  }
  return lines;
}

/** The smallest grid that holds every volume: its first voxel, in voxels of the volumes, and its shape x, y, z. */
function common(volumes) {
  const starts = volumes.map(({ origin, pixel_size: pixel }) => origin.map((value) => Math.round(value / pixel)));
  const ends = volumes.map(({ arrays }, i) => [...arrays[0].shape].reverse().map((side, k) => starts[i][k] + side));
  const first = [0, 1, 2].map((k) => Math.min(...starts.map((start) => start[k])));
  return { first, shape: first.map((low, k) => Math.max(...ends.map((end) => end[k])) - low), starts };
}

/** Counts of a volume as the bytes of an MRC file, mode 2, with its place in Å as the origin; 0 where there are none. */
function mrc(volume, { first, shape }, counts, least, step) {
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
    header.setFloat32(196 + 4 * k, value - [x0, y0, z0][k] * pixel, true);
  });
  bytes.set(new TextEncoder().encode("MAP "), 208);
  bytes.set([0x44, 0x44, 0, 0], 212);
  return bytes;
}
