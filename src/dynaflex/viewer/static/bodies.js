// What can be seen beside the surface, made from messages: arrows of the motion, and Gaussians or the mesh.
import { classColour, coloursBetween, rgb, roundStep, SCALES, table } from "./colours.js";
import { arrowMesh, cellMesh } from "./solids.js";

const TABLES = Object.fromEntries(Object.entries(SCALES).map(([id, name]) => [id, table(name)]));
const ARROW = rgb("#c8502d");
const PLAIN = rgb("#7fa8d1");

/** The 256 colours of the scale of a quantity, by its identifier. */
export function tableOf(id) {
  return TABLES[id];
}

/** An array of a message by its name; null if it has none. */
export function layer(message, name) {
  return message.data[message.layers.indexOf(name)] ?? null;
}

/** How many times as long as the motion arrows are drawn, so that the largest are about a tenth of what is seen. */
export function usualTimes({ largest, width }) {
  return Math.max(roundStep((0.1 * width) / Math.max(largest, 1e-6)), 1);
}

/** Arrows of a conformation as a mesh; in the colours of displacement if the surface has them, else in one. */
export function arrowsOf(message, times, limits) {
  const arrows = layer(message, "arrows");
  if (!arrows) return null;
  const scale = message.colour?.id === "displacement" ? coloursBetween(TABLES.displacement, limits) : () => ARROW;
  return arrowMesh(arrows, times, 0.0045 * message.width, scale);
}

/** Gaussians of a conformation as points. */
export function gaussiansOf(message, parts, limits) {
  const places = layer(message, "parts");
  const values = valuesOf(message, parts, places);
  const scale = values && coloursBetween(tableOf(message.colour.id), limits);
  const paints = new Uint8Array((4 * places.length) / 3).fill(255);
  for (let i = 0; i < places.length / 3; i++) paints.set(scale ? scale(values[i]) : PLAIN, 4 * i);
  return { positions: places, paints, radius: 0.5 * parts.radius };
}

/** The mesh of a conformation: its faces too unless it lies in a surface; coloured by segment if asked for. */
export function meshOf(message, parts, limits, { filled, bySegment }) {
  const places = layer(message, "parts");
  const segment = layer(parts, "segment");
  const values = bySegment ? null : valuesOf(message, parts, places);
  const scale = values && coloursBetween(tableOf(message.colour.id), limits);
  const colourOf = (vertex, face) => (bySegment ? classColour(segment[face]) : scale ? scale(values[vertex]) : PLAIN);
  return cellMesh(places, layer(parts, "faces"), segment, colourOf, 0.0018 * message.width, filled);
}

/** The quantity of the surface's colours at each part: the displacement, or what the map says where it rests. */
function valuesOf(message, parts, places) {
  if (!message.colour) return null;
  if (message.colour.id !== "displacement") return layer(parts, message.colour.id);
  const rest = layer(parts, "rest");
  return Float32Array.from({ length: places.length / 3 }, (_, i) => Math.hypot(
    places[3 * i] - rest[3 * i], places[3 * i + 1] - rest[3 * i + 1], places[3 * i + 2] - rest[3 * i + 2],
  ));
}

/** Two meshes, either of which can be null, as one. */
export function together(first, second) {
  if (!first || !second) return first ?? second;
  const joined = (name) => {
    const out = new first[name].constructor(first[name].length + second[name].length);
    out.set(first[name]);
    out.set(second[name], first[name].length);
    return out;
  };
  const indices = joined("indices");
  const shift = first.positions.length / 3;
  for (let i = first.indices.length; i < indices.length; i++) indices[i] += shift;
  return { positions: joined("positions"), normals: joined("normals"), paints: joined("paints"), indices };
}
