// Keeps a volume and answers every level with a surface, so that the threshold needs no server.
import { withoutIslands } from "./islands.js";
import { isosurface } from "./isosurface.js";

let volume = null;

onmessage = ({ data }) => {
  if (data.volume) volume = data.volume;
  const { values, shape, origin, pixelSize, step, colour } = volume;
  const mesh = isosurface(values, shape, data.level / step, origin, pixelSize, colour);
  if (data.tidy) mesh.indices = withoutIslands(mesh.indices, mesh.positions.length / 3);
  const buffers = [mesh.positions.buffer, mesh.normals.buffer, mesh.indices.buffer];
  if (mesh.colours) buffers.push(mesh.colours.buffer);
  postMessage(mesh, buffers);
};
