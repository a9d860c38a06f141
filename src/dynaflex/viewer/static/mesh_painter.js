// Painting what a surface view shows: with WebGL2, or on a plain canvas where there is none.
//
// There are three layers, each of which can be empty: the "surface", coloured by a table; "solids", meshes that bring
// their own colours; and "points", which are painted as balls.
import { CanvasPainter } from "./canvas_painter.js";

const LIGHT = `
uniform vec3 behind;
vec3 lit(vec3 own, vec3 n, float depth) {
  float key = max(dot(n, normalize(vec3(0.35, 0.5, 0.8))), 0.0);
  float rim = 1.0 - max(n.z, 0.0);
  float shine = pow(max(dot(n, normalize(vec3(0.35, 0.5, 1.8))), 0.0), 40.0);
  vec3 shown = own * (0.46 + 0.1 * n.y + 0.6 * key) * (1.0 - 0.3 * rim * rim) + 0.14 * shine;
  return mix(shown, behind, clamp(depth * 1.6, 0.0, 0.4));
}`;

const MESH = [`#version 300 es
in vec3 position;
in vec3 normal;
in float value;
in vec4 paint;
uniform mat4 view;
invariant gl_Position;
uniform mat3 turn;
uniform vec2 limits;
out vec3 facing;
out vec3 brought;
out float shade;
out float depth;
void main() {
  gl_Position = view * vec4(position, 1.0);
  facing = turn * normal;
  depth = gl_Position.z;
  brought = paint.rgb;
  shade = clamp((value - limits.x) / (limits.y - limits.x), 0.0, 1.0);
}`, `#version 300 es
precision highp float;
in vec3 facing;
in vec3 brought;
in float shade;
in float depth;
uniform sampler2D table;
uniform vec3 plain;
uniform int source;
uniform bool seeThrough;
out vec4 colour;
${LIGHT}
void main() {
  vec3 n = normalize(facing);
  if (!gl_FrontFacing) n = -n;
  vec3 own = source == 0 ? plain : source == 1 ? texture(table, vec2((shade * 255.0 + 0.5) / 256.0, 0.5)).rgb : brought;
  float rim = 1.0 - max(n.z, 0.0);
  colour = vec4(lit(own, n, depth), seeThrough ? 0.3 + 0.45 * rim * rim : 1.0);
}`];

// Where the nearest sheet of a surface is, exactly as MESH has it.
const DEPTH = [`#version 300 es
in vec3 position;
uniform mat4 view;
invariant gl_Position;
void main() {
  gl_Position = view * vec4(position, 1.0);
}`, `#version 300 es
void main() {}`];

const POINTS = [`#version 300 es
in vec3 position;
in vec4 paint;
uniform mat4 view;
uniform float diameter;
out vec3 brought;
out float depth;
void main() {
  gl_Position = view * vec4(position, 1.0);
  gl_PointSize = diameter;
  brought = paint.rgb;
  depth = gl_Position.z;
}`, `#version 300 es
precision highp float;
in vec3 brought;
in float depth;
uniform float thickness;
out vec4 colour;
${LIGHT}
void main() {
  vec2 at = vec2(2.0, -2.0) * (gl_PointCoord - 0.5);
  float left = 1.0 - dot(at, at);
  if (left < 0.0) discard;
  vec3 n = vec3(at, sqrt(left));
  gl_FragDepth = clamp(0.5 + 0.5 * (depth - n.z * thickness), 0.0, 1.0);
  colour = vec4(lit(brought, n, depth), 1.0);
}`];

/**
 * A painter for the canvas: `kind` says which one it became. Both have `load(layer, content)` and `paint(camera, look)`.
 *
 * A mesh has `positions` (3 each), `normals` (4 bytes each), `indices`, and `colours` (a byte each) or `paints` (RGBA);
 * points have `positions`, `paints` and a common `radius` in Å. Null empties a layer. Of `look`, `plain` and `behind` are
 * colours (0..1), `table` has the colours of the surface or is null, `limits` are the bytes that span it, and `surface`
 * says whether it is `whole`, `seeThrough` or `hidden`.
 */
export function painter(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: true, alpha: false, powerPreference: "high-performance" });
  return gl ? new WebGlPainter(canvas, gl) : new CanvasPainter(canvas);
}

class WebGlPainter {
  kind = "webgl";
  #content = { surface: null, solids: null, points: null };
  #loaded = {};

  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.#prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      for (const [layer, content] of Object.entries(this.#content)) this.load(layer, content);
      canvas.dispatchEvent(new Event("restored"));
    });
  }

  load(layer, content) {
    const { gl } = this;
    this.#content[layer] = content;
    if (!content) return;
    const program = layer === "points" ? this.points : this.mesh;
    const kept = this.#loaded[layer] ??= { array: gl.createVertexArray(), buffers: {} };
    gl.bindVertexArray(kept.array);
    const fill = (name, values, size, type, normalised, stride) => {
      const place = gl.getAttribLocation(program.program, name);
      if (!values) return gl.disableVertexAttribArray(place);
      gl.bindBuffer(gl.ARRAY_BUFFER, kept.buffers[name] ??= gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(place);
      return gl.vertexAttribPointer(place, size, type, normalised, stride, 0);
    };
    fill("position", content.positions, 3, gl.FLOAT, false, 0);
    fill("paint", content.paints, 4, gl.UNSIGNED_BYTE, true, 0);
    kept.count = content.positions.length / 3;
    if (layer === "points") return;
    fill("normal", content.normals, 3, gl.BYTE, true, 4);
    fill("value", content.colours, 1, gl.UNSIGNED_BYTE, false, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, kept.buffers.indices ??= gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, content.indices, gl.DYNAMIC_DRAW);
    kept.count = content.indices.length;
  }

  paint(camera, look) {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...look.behind, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const view = camera.matrix(canvas.width / canvas.height);
    if (this.#content.points?.positions.length) this.#paintPoints(camera, view, look);
    gl.useProgram(this.mesh.program);
    const { at } = this.mesh;
    const r = camera.rotation;
    gl.uniformMatrix4fv(at.view, false, view);
    gl.uniformMatrix3fv(at.turn, false, [r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]]);
    gl.uniform3fv(at.plain, look.plain);
    gl.uniform3fv(at.behind, look.behind);
    gl.uniform2fv(at.limits, look.limits);
    gl.uniform1i(at.seeThrough, 0);
    this.#paintMesh("solids", 2);
    if (look.surface === "hidden" || !this.#content.surface) return;
    this.#choose(look.table);
    const source = look.table && this.#content.surface.colours ? 1 : 0;
    if (look.surface === "whole") {
      this.#paintMesh("surface", source);
      return;
    }
    // Only the nearest sheet is blended over what lies behind it: first its depth, then its colour.
    gl.colorMask(false, false, false, false);
    gl.useProgram(this.depth.program);
    gl.uniformMatrix4fv(this.depth.at.view, false, view);
    this.#draw("surface");
    gl.colorMask(true, true, true, true);
    gl.useProgram(this.mesh.program);
    gl.enable(gl.BLEND);
    gl.uniform1i(at.seeThrough, 1);
    this.#paintMesh("surface", source);
    gl.disable(gl.BLEND);
  }

  /** Wait until what was painted is there. */
  finish() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  #paintMesh(layer, source) {
    const { gl } = this;
    if (!this.#content[layer]?.indices.length) return;
    gl.uniform1i(this.mesh.at.source, source);
    this.#draw(layer);
  }

  #draw(layer) {
    const { gl } = this;
    gl.bindVertexArray(this.#loaded[layer].array);
    gl.drawElements(gl.TRIANGLES, this.#loaded[layer].count, gl.UNSIGNED_INT, 0);
  }

  #paintPoints(camera, view, look) {
    const { gl } = this;
    const { radius } = this.#content.points;
    const { program, at } = this.points;
    gl.useProgram(program);
    gl.uniformMatrix4fv(at.view, false, view);
    gl.uniform3fv(at.behind, look.behind);
    gl.uniform1f(at.diameter, Math.max((2 * radius) / camera.perPixel(this.canvas), 1));
    gl.uniform1f(at.thickness, radius / (8 * camera.extent));
    gl.bindVertexArray(this.#loaded.points.array);
    gl.drawArrays(gl.POINTS, 0, this.#loaded.points.count);
  }

  #choose(table) {
    const { gl } = this;
    if (!table || table === this.table) return;
    this.table = table;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, table);
  }

  #prepare() {
    const { gl } = this;
    this.mesh = built(gl, MESH, ["view", "turn", "limits", "plain", "behind", "source", "seeThrough"]);
    this.depth = built(gl, DEPTH, ["view"]);
    this.points = built(gl, POINTS, ["view", "behind", "diameter", "thickness"]);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    this.#loaded = {};
    this.table = null;
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  }
}

/** A program of two shaders, and where its uniforms are. */
function built(gl, [vertex, fragment], uniforms) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  // DEPTH reads the positions that were laid out for MESH.
  gl.bindAttribLocation(program, 0, "position");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return { program, at: Object.fromEntries(uniforms.map((name) => [name, gl.getUniformLocation(program, name)])) };
}
