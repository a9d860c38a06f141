// The first panel: particles in latent space, and the conformation under the pointer beside them.
import { Camera } from "./camera.js";
import { brief } from "./colours.js";
import { DensityPlot } from "./density_plot.js";
import { showLegend } from "./legend.js";
import { getBinary } from "./message.js";
import { Newest } from "./newest.js";
import { PathBar } from "./path_bar.js";
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

  constructor(particles, run, fail) {
    Object.assign(this, { particles, fail });
    this.bar = new SurfaceBar(this.view, run, () => this.#again(), fail);
    this.path = new PathBar(this);
    this.selection = new SelectionBar(this);
    this.#fillMenus();
    this.#listen();
    this.setTool("explore");
  }

  /** Show the particles, and the conformation in their middle. */
  async start() {
    await this.particles.choose(this.particles.half);
    await this.#points();
    // Without a model there are still particles to look at and to select.
    await this.#middle().catch(this.fail);
    await this.#offerMore();
  }

  get axes() {
    return [$("x").value, $("y").value];
  }

  setTool(name) {
    this.plot.tool = name;
    for (const button of $("tools").children) button.setAttribute("aria-checked", String(button.dataset.tool === name));
  }

  /** Show latents of a half, at rest or while the hand moves. */
  showLatents(z, half, size = "fine") {
    return this.#ask({ query: `half=${half}&size=${size}&z=${z.join(",")}`, size, at: null });
  }

  /** The conformation that is shown, once more, as the controls of the surface want it now. */
  async #again() {
    // What was asked for last may still be on its way.
    const shown = this.z && { query: `half=${this.half}&size=fine&z=${this.z.join(",")}`, at: null };
    const { query, at } = this.#asked ?? shown ?? {};
    if (query) await this.#ask({ query: query.replace("size=coarse", "size=fine"), size: "fine", at });
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

  /** The surface shows latents of a half; `at` is where they were looked for in the plot, if they were. */
  async moved(z, half, at = null) {
    [this.z, this.half, this.filled] = [z, half, at !== null];
    const place = at ?? (await this.particles.places([z], half, this.axes))[0];
    if (this.z !== z) return;
    this.at = place;
    this.mark();
    this.#tellPlace();
  }

  /** The surface shows a frame of the path, between two of its nodes. */
  movedAlong({ z, node: i, share }) {
    [this.z, this.half, this.filled] = [z, this.path.movie.half, false];
    this.#asked = null;
    const [from, to] = this.#route.line.slice(i, i + 2);
    this.at = to ? from.map((c, k) => c * (1 - share) + to[k] * share) : null;
    this.mark();
    this.#tellPlace();
  }

  /** What takes a while to read: columns of the particle table, and what `dynaflex analyze` found. */
  async #offerMore() {
    const { columns, trouble, hint } = await this.particles.loadTable();
    $("colour").append(...columns.map(option));
    for (const name of ["x", "y"]) {
      $(name).append(...columns.filter((column) => column.kind === "layout").map(option));
      if (hint) $(name).append(Object.assign(new Option(hint), { disabled: true }));
    }
    await this.selection.offerClusters();
    if (trouble) this.fail(new Error(trouble));
  }

  #fillMenus() {
    const { particles } = this;
    const axes = particles.columns.filter((column) => ["component", "latent"].includes(column.kind));
    for (const name of ["x", "y"]) $(name).append(...axes.map(option));
    if (axes.length > 1) $("y").selectedIndex = 1;
    $("colour").append(...particles.columns.map(option));
    $("colour").value = particles.column("displacement") ? "displacement" : "half";
    const halves = particles.about.halves.map((half) => new Option(`half ${half}`, half));
    $("half").append(...halves, new Option(particles.shared ? "all" : "both halves", 0));
    $("half").value = particles.half;
  }

  #listen() {
    const { plot, view } = this;
    const tried = (work) => (...given) => Promise.resolve(work(...given)).catch(this.fail);
    for (const id of ["x", "y"]) $(id).addEventListener("change", tried(() => this.#points()));
    $("half").addEventListener("change", tried(async () => {
      await this.particles.choose(Number($("half").value));
      this.selection.clear();
      this.path.clear();
      await this.#points();
      await this.#middle();
    }));
    $("colour").addEventListener("change", tried(() => this.#colour()));
    for (const button of $("tools").children) button.addEventListener("click", () => this.setTool(button.dataset.tool));
    plot.addEventListener("explore", tried(({ detail }) => this.#exploreAt(detail.x, detail.y, detail.ended)));
    plot.addEventListener("click", tried(({ detail }) => this.path.addAt(detail.x, detail.y)));
    plot.addEventListener("lasso", ({ detail }) => this.selection.chooseShown(detail.mask, detail.adds));
    plot.addEventListener("hover", ({ detail }) => this.#hover(detail));
    $("threshold").addEventListener("input", tried(async () => {
      const started = performance.now();
      this.#tellThreshold();
      await view.cut(Number($("threshold").value) * this.usual);
      view.painter.finish();
      this.thresholdTime = performance.now() - started;
    }));
    $("tidy").addEventListener("change", tried(() => {
      view.tidy = $("tidy").checked;
      return view.cut();
    }));
  }

  /** Step the threshold by a tenth, up or down. */
  nudge(direction) {
    $("threshold").value = Number($("threshold").value) * 1.1 ** direction;
    $("threshold").dispatchEvent(new Event("input"));
  }

  async #points() {
    const [x, y] = await Promise.all(this.axes.map((name) => this.particles.shownValues(name)));
    this.plot.set(x, y);
    this.plot.labels = this.axes.map((name) => this.particles.title(name));
    await this.#colour();
    this.plot.fit();
    this.selection.refresh();
    await Promise.all([this.route(), this.z && this.moved(this.z, this.half)]);
  }

  async #colour() {
    const found = await this.particles.colours($("colour").value);
    this.plot.colour(found.codes, found.table);
    this.colourValues = found.values;
    this.plot.draw();
    this.#legend(found.legend);
  }

  #legend(found) {
    const { half, shared, shown } = this.particles;
    const apart = !half && !shared && this.particles.inLatentSpace(this.axes) ? "; each half has axes of its own" : "";
    const note = `· ${shown.length.toLocaleString("en")} particles${apart}`;
    const column = $("colour").value;
    showLegend($("legend"), found, note, ({ value, adds }) => {
      this.selection.chooseClass(column, value, adds).catch(this.fail);
    });
  }

  async #middle() {
    const half = this.particles.half || this.particles.about.halves[0];
    const mean = this.particles.about.components[half].mean;
    await this.showLatents(mean, half);
  }

  async #exploreAt(x, y, ended) {
    this.path.movie.stop();
    const started = performance.now();
    const [left, top] = this.plot.toPixels(x, y);
    const half = await this.particles.owner(this.particles.half ? -1 : this.plot.nearest(left, top, 1e4));
    this.at = [x, y];
    this.mark();
    const [a, b] = this.axes;
    const query = `half=${half}&size=${ended ? "fine" : "coarse"}&x=${a}&y=${b}&at=${x.toPrecision(7)},${y.toPrecision(7)}`;
    await this.#ask({ query, started, size: ended ? "fine" : "coarse", at: [x, y] });
  }

  #ask(request) {
    this.#asked = request;
    return this.#conformation.ask({ started: performance.now(), ...request });
  }

  async #decode({ query, started, size, at }) {
    const message = await getBinary(`api/conformation?${query}${this.view.query}`);
    const fetched = performance.now();
    if (this.half !== message.half || !this.usual) this.#fresh(message);
    await this.view.show(message);
    this.view.painter.finish();
    this.times.push({ size, total: performance.now() - started, fetch: fetched - started });
    if (size === "fine") await this.moved(message.z, message.half, at);
    else {
      [this.z, this.half, this.filled] = [message.z, message.half, at !== null];
      this.#tellPlace();
    }
  }

  /** A half seen for the first time: its contour, its best side. */
  #fresh(message) {
    const { view } = this;
    const first = !this.usual;
    this.usual = message.level;
    view.level = message.level * Number($("threshold").value = first ? 1 : $("threshold").value);
    if (first) view.camera.frame(message.box_center, message.width * 0.52, message.side);
    this.#tellThreshold();
  }

  #tellThreshold() {
    const times = Number($("threshold").value);
    $("threshold-value").textContent = `${times.toFixed(2)} × contour`;
    $("threshold-value").title = `density ${brief(times * this.usual)}`;
  }

  #tellPlace() {
    const { particles, half } = this;
    const { latent_dim: dimension } = particles.about;
    const named = this.axes.map((name, i) => {
      const { label, unit } = particles.column(name);
      return `${label} = ${brief((this.at ?? [])[i])}${unit && ` ${unit}`}`;
    });
    let rest = "";
    if (!particles.inLatentSpace(this.axes)) {
      rest = this.filled ? `; no latents of its own: the mean of the 8 nearest particles of half ${half}`
        : "; placed where the 8 particles with the nearest latents are";
    } else if (dimension > 2 && this.filled) rest = `; the other ${dimension - 2} coordinates as in the 8 nearest particles`;
    $("place").textContent = `half ${half}: ${named.join(", ")}${rest}.`;
  }

  #hover({ index, left, top }) {
    const tip = $("tooltip");
    tip.hidden = index < 0;
    if (index < 0) return;
    const colour = $("colour").value;
    const value = this.particles.words(colour, this.colourValues[index]);
    tip.textContent = `particle ${this.particles.shown[index]}\n${this.particles.column(colour).label}: ${value}`;
    const room = this.plot.element.clientWidth - left;
    tip.style.left = room < 240 ? "auto" : `${left + 14}px`;
    tip.style.right = room < 240 ? `${room + 14}px` : "auto";
    tip.style.top = `${Math.min(top + 12, this.plot.element.clientHeight - 50)}px`;
  }
}

function option({ identifier, label, unit }) {
  return new Option(unit ? `${label} (${unit})` : label, identifier);
}

