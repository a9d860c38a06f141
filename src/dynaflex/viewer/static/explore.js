// The first panel: particles by their conformations, and the conformation under the pointer beside them.
import { Camera } from "./camera.js";
import { brief, quantity } from "./colours.js";
import { DensityPlot } from "./density_plot.js";
import { getBinary } from "./message.js";
import { Newest } from "./newest.js";
import { PathBar } from "./path_bar.js";
import { PlotBar } from "./plot_bar.js";
import { SelectionBar } from "./selection_bar.js";
import { SurfaceBar } from "./surface_bar.js";
import { SurfaceView } from "./surface_view.js";

const $ = (id) => document.getElementById(id);

export class Explore {
  plot = new DensityPlot($("plot"));
  view = new SurfaceView($("surface"), new Camera(), "Conformation");
  half = 1;
  z = null;
  times = [];
  #route = { nodes: [], line: [] };
  #asked = null;
  #conformation = new Newest((request) => this.#decode(request));

  constructor(particles, run, maps, fail) {
    Object.assign(this, { particles, maps, fail });
    this.bar = new PlotBar(this.plot, particles, fail);
    this.surfaceBar = new SurfaceBar(this.view, run, () => this.#again(), fail);
    this.path = new PathBar(this);
    this.selection = new SelectionBar(this);
    this.#listen();
  }

  /** Show the particles, and how the molecule moves. */
  async start() {
    await this.bar.start();
    // Without a model there are still particles to look at and to select.
    await this.#begin().catch(this.fail);
    await this.#offerMore();
  }

  /** The training has gone on: show the same of it as it is now. */
  async renew(about) {
    const { movie } = this.path;
    const { playing, index } = movie;
    this.particles.renew(about);
    [this.usual, this.message, this.view.parts] = [null, null, null];
    this.surfaceBar.forget();
    await this.bar.start();
    if (!(await this.path.renew())) await this.#again();
    else if (playing) movie.play(index).catch(this.fail);
    else await movie.show(index);
  }

  get axes() {
    return this.bar.axes;
  }

  /** Whether a conformation that was asked for is still to come. */
  get busy() {
    return this.#conformation.busy;
  }

  /** Show latents of a half, at rest or while the hand moves. */
  showLatents(z, half, size = "fine") {
    return this.#ask({ query: `half=${half}&size=${size}&z=${z.join(",")}`, size, at: null });
  }

  /** Marks in the plot for where the surface is and where the path goes. */
  mark() {
    this.plot.marks = { at: this.at ?? null, ...this.#route };
    this.plot.drawOverlay();
  }

  /** Find out where the path lies in the plot, and mark it. */
  async route() {
    const { particles, axes, path } = this;
    const { nodes, half } = path.movie;
    const [line, stops] = await Promise.all([nodes, path.stops].map((each) => particles.places(each, half ?? 1, axes)));
    if (nodes !== path.movie.nodes || String(axes) !== String(this.axes)) return;
    this.#route = { line, nodes: stops };
    this.mark();
  }

  /** The surface shows a message's conformation; `at` is where it was looked for in the plot, if it was. */
  async moved(message, at = null) {
    this.#hold(message, at !== null);
    const place = at ?? (await this.particles.places([this.z], this.half, this.axes))[0];
    if (this.z !== message.z) return;
    this.at = place;
    this.mark();
    this.#tellPlace();
  }

  /** The surface shows a frame of the path, between two of its nodes. */
  movedAlong({ message, node: i, share }) {
    this.#hold(message, false);
    this.#asked = null;
    const [from, to] = this.#route.line.slice(i, i + 2);
    this.at = to ? from.map((c, k) => c * (1 - share) + to[k] * share) : null;
    this.mark();
    this.#tellPlace();
  }

  /** Offer the conformation that is shown to the panel of maps. */
  keep() {
    if (!this.message) return;
    const { half, z } = this;
    const name = this.maps.keep({ half, z, words: $("place").textContent.split(";")[0].replace(/\.$/, "") });
    $("saved").textContent = `kept as ${name}, to be compared in the panel Maps`;
  }

  /** Step the threshold by a tenth, up or down. */
  nudge(direction) {
    $("threshold").value = Number($("threshold").value) * 1.1 ** direction;
    $("threshold").dispatchEvent(new Event("input"));
  }

  /** The motion along which the particles spread most; where that is not known, their middle. */
  async #begin() {
    if (this.particles.column("motion1")) await this.path.begin();
    else await this.#middle();
  }

  /** What takes a while to read: columns of the particle table, and what `dynaflex analyze` found. */
  async #offerMore() {
    const found = await this.particles.loadTable();
    await this.bar.offer(found);
    await this.selection.offerClusters();
    if (found.trouble) this.fail(new Error(found.trouble));
  }

  #listen() {
    const { plot, view, bar } = this;
    const tried = (work) => (...given) => Promise.resolve(work(...given)).catch(this.fail);
    bar.addEventListener("axes", tried(() => {
      this.selection.refresh();
      return Promise.all([this.route(), this.message && this.moved(this.message)]);
    }));
    bar.addEventListener("half", tried(() => {
      this.path.clear();
      return this.#middle();
    }));
    bar.addEventListener("class", tried(({ detail }) => this.selection.chooseClass(detail.column, detail.value, detail.adds)));
    plot.addEventListener("show", tried(({ detail }) => this.#showAt(detail.x, detail.y, detail.ended)));
    plot.addEventListener("click", tried(({ detail }) => this.path.addAt(detail.x, detail.y)));
    plot.addEventListener("lasso", ({ detail }) => this.selection.chooseShown(detail.mask, detail.adds));
    $("threshold").addEventListener("input", tried(async () => {
      const started = performance.now();
      this.#tellThreshold();
      await view.cut(Number($("threshold").value) * this.usual);
      view.painter.finish();
      this.thresholdTime = performance.now() - started;
    }));
    $("keep").addEventListener("click", () => this.keep());
    $("tidy").addEventListener("change", tried(() => {
      view.tidy = $("tidy").checked;
      return view.cut();
    }));
  }

  /** The conformation that is shown, once more, as the controls of the surface want it now. */
  async #again() {
    // What was asked for last may still be on its way.
    const shown = this.z && { query: `half=${this.half}&size=fine&z=${this.z.join(",")}`, at: null };
    const { query, at } = this.#asked ?? shown ?? {};
    if (query) await this.#ask({ query: query.replace("size=coarse", "size=fine"), size: "fine", at });
  }

  async #middle() {
    const half = this.particles.half || this.particles.about.halves[0];
    await this.showLatents(this.particles.about.components[half].mean, half);
  }

  async #showAt(x, y, ended) {
    this.path.movie.stop();
    const started = performance.now();
    const [left, top] = this.plot.toPixels(x, y);
    const half = this.particles.owner(this.particles.half ? -1 : this.plot.nearest(left, top, 1e4));
    this.at = [x, y];
    this.mark();
    const [a, b] = this.axes;
    const size = ended ? "fine" : "coarse";
    const query = `half=${half}&size=${size}&x=${a}&y=${b}&at=${x.toPrecision(7)},${y.toPrecision(7)}`;
    await this.#ask({ query, started, size, at: [x, y] });
  }

  #ask(request) {
    this.#asked = request;
    return this.#conformation.ask({ started: performance.now(), ...request });
  }

  async #decode({ query, started, size, at }) {
    const message = await getBinary(`api/conformation?${query}${this.view.query}`);
    const fetched = performance.now();
    this.meet(message);
    await this.view.show(message);
    this.view.painter.finish();
    this.times.push({ size, total: performance.now() - started, fetch: fetched - started });
    if (size === "fine") await this.moved(message, at);
    else {
      this.#hold(message, at !== null);
      this.#tellPlace();
    }
  }

  /** A half seen for the first time: its contour, its best side. */
  meet(message) {
    if (this.half === message.half && this.usual) return;
    const { view } = this;
    if (!this.framed) {
      $("threshold").value = 1;
      view.camera.frame(message.box_center, message.width * 0.52, message.side);
      this.framed = true;
    }
    this.usual = message.level;
    view.level = message.level * Number($("threshold").value);
    this.#tellThreshold();
  }

  #hold(message, filled) {
    Object.assign(this, { message, filled, z: message.z, half: message.half });
  }

  #tellThreshold() {
    const times = Number($("threshold").value);
    $("threshold-value").textContent = `${times.toFixed(2)} × contour`;
    $("threshold-value").title = `density ${brief(times * this.usual)}`;
  }

  #tellPlace() {
    const { particles, half, message } = this;
    const { latent_dim: dimension } = particles.about;
    const named = this.axes.map((name, i) => {
      const { label, unit } = particles.column(name);
      return `${label} = ${quantity((this.at ?? [])[i], unit)}`;
    });
    let rest = "";
    if (!this.filled) {
      if (this.axes.some((name) => particles.column(name).kind === "layout")) rest = "; placed where the 8 particles with the nearest latents are";
    } else if (!particles.inLatentSpace(this.axes)) rest = `; no latents of its own: the mean of the 8 nearest particles of half ${half}`;
    else if (dimension > 2) rest = `; the other ${dimension - 2} coordinates as in the 8 nearest particles`;
    if (message.made === "model") rest += "; the model's own density, for there are no maps yet";
    const near = message.near ? `${message.near.toLocaleString("en")} particle${message.near === 1 ? "" : "s"}` : "no particle";
    $("place").textContent = `half ${half}: ${named.join(", ")}${rest}; ${near} within ${message.within}.`;
  }
}
