// Painting a mesh: with WebGL2, or on a plain canvas where there is none.

const VERTEX = `#version 300 es
in vec3 position;
in vec3 normal;
in float value;
uniform mat4 view;
uniform mat3 turn;
uniform vec2 limits;
out vec3 facing;
out float shade;
out float depth;
void main() {
  gl_Position = view * vec4(position, 1.0);
  facing = turn * normal;
  depth = gl_Position.z;
  shade = clamp((value - limits.x) / (limits.y - limits.x), 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 facing;
in float shade;
in float depth;
uniform sampler2D table;
uniform vec3 plain;
uniform vec3 behind;
uniform bool coloured;
out vec4 colour;
void main() {
  vec3 n = normalize(facing);
  if (!gl_FrontFacing) n = -n;
  vec3 own = coloured ? texture(table, vec2((shade * 255.0 + 0.5) / 256.0, 0.5)).rgb : plain;
  float key = max(dot(n, normalize(vec3(0.35, 0.5, 0.8))), 0.0);
  float rim = 1.0 - max(n.z, 0.0);
  float shine = pow(max(dot(n, normalize(vec3(0.35, 0.5, 1.8))), 0.0), 40.0);
  vec3 lit = own * (0.46 + 0.1 * n.y + 0.6 * key) * (1.0 - 0.3 * rim * rim) + 0.14 * shine;
  colour = vec4(mix(lit, behind, clamp(depth * 1.6, 0.0, 0.4)), 1.0);
}`;

/** A painter for the canvas: `kind` says which one it became. Both have `load(mesh)` and `paint(camera, look)`. */
export function painter(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: true, alpha: false, powerPreference: "high-performance" });
  return gl ? new WebGlPainter(canvas, gl) : new CanvasPainter(canvas);
}

/** `look`: `plain` and `behind` colours (0..1), `table` of colours or null, `limits` of bytes that span it. */
class WebGlPainter {
  kind = "webgl";
  #count = 0;

  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.#prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      if (this.mesh) this.load(this.mesh);
      canvas.dispatchEvent(new Event("restored"));
    });
  }

  load(mesh) {
    const { gl } = this;
    this.mesh = mesh;
    gl.bindVertexArray(this.array);
    this.#fill("position", mesh.positions, 3, gl.FLOAT, false, 0);
    this.#fill("normal", mesh.normals, 3, gl.BYTE, true, 4);
    this.#fill("value", mesh.colours ?? new Uint8Array(mesh.positions.length / 3), 1, gl.UNSIGNED_BYTE, false, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.indices, gl.DYNAMIC_DRAW);
    this.#count = mesh.indices.length;
  }

  paint(camera, look) {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...look.behind, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.#count) return;
    const r = camera.rotation;
    gl.uniformMatrix4fv(this.at.view, false, camera.matrix(canvas.width / canvas.height));
    gl.uniformMatrix3fv(this.at.turn, false, [r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]]);
    gl.uniform3fv(this.at.plain, look.plain);
    gl.uniform3fv(this.at.behind, look.behind);
    gl.uniform1i(this.at.coloured, look.table && this.mesh.colours ? 1 : 0);
    gl.uniform2fv(this.at.limits, look.limits);
    if (look.table && look.table !== this.table) {
      this.table = look.table;
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, look.table);
    }
    gl.drawElements(gl.TRIANGLES, this.#count, gl.UNSIGNED_INT, 0);
  }

  /** Wait until what was painted is there. */
  finish() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  #prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.program = program;
    this.at = Object.fromEntries(
      ["view", "turn", "limits", "plain", "behind", "coloured"].map((name) => [name, gl.getUniformLocation(program, name)]),
    );
    this.array = gl.createVertexArray();
    this.buffers = Object.fromEntries(
      ["position", "normal", "value", "indices"].map((name) => [name, gl.createBuffer()]),
    );
    this.table = null;
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  }

  #fill(name, content, size, type, normalised, stride) {
    const { gl } = this;
    const place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, content, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, normalised, stride, 0);
  }
}

/** The same picture, triangle by triangle, with a depth buffer of our own; slower and without smooth edges. */
class CanvasPainter {
  kind = "canvas";

  constructor(canvas) {
    this.context = canvas.getContext("2d");
    this.canvas = canvas;
  }

  load(mesh) {
    this.mesh = mesh;
  }

  finish() { /* a canvas is painted when paint() returns */ }

  paint(camera, look) {
    const { width, height } = this.canvas;
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    pixels.fill(packed(look.behind.map((c) => c * 255)));
    if (this.mesh) this.#triangles(pixels, width, height, camera, look);
    this.context.putImageData(image, 0, 0);
  }

  #triangles(pixels, width, height, camera, look) {
    const { positions, normals, colours, indices } = this.mesh;
    const [m, r] = [camera.matrix(width / height), camera.rotation];
    const count = positions.length / 3;
    const [x, y, z, shade] = [0, 1, 2, 3].map(() => new Float32Array(count));
    for (let i = 0; i < count; i++) {
      const [a, b, c] = [positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]];
      x[i] = (0.5 + 0.5 * (m[0] * a + m[4] * b + m[8] * c + m[12])) * width;
      y[i] = (0.5 - 0.5 * (m[1] * a + m[5] * b + m[9] * c + m[13])) * height;
      z[i] = m[2] * a + m[6] * b + m[10] * c + m[14];
      const n = [0, 3, 6].map((k) => (r[k] * normals[4 * i] + r[k + 1] * normals[4 * i + 1] + r[k + 2] * normals[4 * i + 2]) / 127);
      shade[i] = 0.45 + 0.62 * Math.abs(0.35 * n[0] + 0.5 * n[1] + 0.8 * n[2]);
    }
    const nearest = new Float32Array(width * height).fill(Infinity);
    const plain = look.plain.map((c) => c * 255);
    for (let t = 0; t < indices.length; t += 3) {
      const [a, b, c] = [indices[t], indices[t + 1], indices[t + 2]];
      const area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a]);
      if (!area) continue;
      let own = plain;
      if (look.table && colours) {
        const value = (colours[a] - look.limits[0]) / (look.limits[1] - look.limits[0]);
        const at = 4 * Math.round(Math.min(Math.max(value, 0), 1) * 255);
        own = [look.table[at], look.table[at + 1], look.table[at + 2]];
      }
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
          const light = shade[a] + u * (shade[b] - shade[a]) + v * (shade[c] - shade[a]);
          pixels[at] = packed(own.map((channel) => Math.min(255, channel * light)));
        }
      }
    }
  }
}

function packed([r, g, b]) {
  return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
}
