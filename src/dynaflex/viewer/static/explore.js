// The first panel: particles in latent space, and the conformation under the pointer beside them.
import { Camera } from "./camera.js";
import { brief } from "./colours.js";
import { DensityPlot } from "./density_plot.js";
import { getBinary } from "./message.js";
import { Newest } from "./newest.js";
import { PathBar } from "./path_bar.js";
import { SelectionBar } from "./selection_bar.js";
import { SurfaceView } from "./surface_view.js";

const $ = (id) => document.getElementById(id);

export class Explore {
  plot = new DensityPlot($("plot"));
  view = new SurfaceView($("surface"), new Camera(), "Conformation");
  half = 1;
  z = null;
  times = [];
  #conformation = new Newest((request) => this.#decode(request));

  constructor(particles, fail) {
    Object.assign(this, { particles, fail });
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
    const found = await this.particles.loadTable();
    $("colour").append(...found.map(option));
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
    return this.#conformation.ask({ query: `half=${half}&size=${size}&z=${z.join(",")}`, size, started: performance.now() });
  }

  /** Marks in the plot for where the surface is and where the path goes. */
  mark() {
    const { particles, axes, plot } = this;
    const { nodes, half } = this.path.movie;
    const placed = nodes.map((z) => particles.place(z, half ?? 1, axes));
    plot.marks = { at: this.at ?? null, nodes: placed, line: placed, guide: [] };
    plot.drawOverlay();
  }

  moved(z, half, filled = false) {
    this.filled = filled;
    [this.z, this.half] = [z, half];
    this.at = this.particles.place(z, half, this.axes);
    this.mark();
    this.#tellPlace();
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
      this.path.movie.reset([], null);
      await this.#points();
      await this.#middle();
    }));
    $("colour").addEventListener("change", tried(() => this.#colour()));
    for (const button of $("tools").children) button.addEventListener("click", () => this.setTool(button.dataset.tool));
    plot.addEventListener("explore", tried(({ detail }) => this.#exploreAt(detail.x, detail.y, detail.ended)));
    plot.addEventListener("click", tried(({ detail }) => this.path.addAt(detail.x, detail.y)));
    plot.addEventListener("lasso", ({ detail }) => this.selection.choose(detail.mask));
    plot.addEventListener("hover", ({ detail }) => this.#hover(detail));
    $("threshold").addEventListener("input", tried(async () => {
      const started = performance.now();
      this.#tellThreshold();
      await view.cut(Number($("threshold").value) * this.usual);
      view.painter.finish();
      this.thresholdTime = performance.now() - started;
    }));
    $("by-displacement").addEventListener("change", () => {
      view.coloured = $("by-displacement").checked;
      view.paint();
    });
    $("tidy").addEventListener("change", tried(() => {
      view.tidy = $("tidy").checked;
      return view.cut();
    }));
    $("most").addEventListener("input", () => {
      view.limits = [0, Number($("most").value) || 1];
      view.paint();
    });
  }

  /** Step the threshold by a tenth, up or down. */
  nudge(direction) {
    $("threshold").value = Number($("threshold").value) * 1.1 ** direction;
    $("threshold").dispatchEvent(new Event("input"));
  }

  async #points() {
    const [x, y] = await Promise.all(this.axes.map((name) => this.particles.shownValues(name)));
    this.plot.set(x, y);
    this.plot.labels = this.axes.map((name) => this.particles.column(name).label);
    await this.#colour();
    this.plot.fit();
    if (this.z) this.moved(this.z, this.half);
    this.selection.refresh();
  }

  async #colour() {
    const found = await this.particles.colours($("colour").value);
    this.plot.colour(found.codes, found.table);
    this.colourValues = found.values;
    this.plot.draw();
    this.#legend(found.legend);
  }

  #legend({ label, css, texts, classes }) {
    const strip = $("legend");
    strip.replaceChildren(node("b", `${label}`));
    if (classes) {
      for (const { text, css: colour } of classes) {
        const square = node("i");
        square.className = "class";
        square.style.background = colour;
        strip.append(square, node("span", text));
      }
    } else {
      const bar = node("i");
      bar.style.background = css;
      strip.append(node("span", texts[0]), bar, node("span", texts[1]));
    }
    const apart = !this.particles.half && !this.particles.shared ? "; each half has axes of its own" : "";
    strip.append(node("span", `· ${this.particles.shown.length.toLocaleString("en")} particles${apart}`));
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
    await this.#conformation.ask({ query, started, size: ended ? "fine" : "coarse" });
  }

  async #decode({ query, started, size }) {
    const message = await getBinary(`api/conformation?${query}`);
    const fetched = performance.now();
    if (this.half !== message.half || !this.usual) this.#fresh(message);
    await this.view.show(message);
    this.view.painter.finish();
    this.filled = query.includes("&at=");
    this.times.push({ size, total: performance.now() - started, fetch: fetched - started });
    if (size === "fine") this.moved(message.z, message.half, this.filled);
    else {
      [this.z, this.half] = [message.z, message.half];
      this.#tellPlace();
    }
  }

  /** A half seen for the first time: its contour, its largest displacement, its best side. */
  #fresh(message) {
    const { view } = this;
    const first = !this.usual;
    this.usual = message.level;
    view.level = message.level * Number($("threshold").value = first ? 1 : $("threshold").value);
    $("most").value = Number(message.colour.high.toPrecision(2));
    view.limits = [0, Number($("most").value)];
    if (first) view.camera.frame(message.box_center, message.width * 0.52, message.side);
    this.#tellThreshold();
  }

  #tellThreshold() {
    const times = Number($("threshold").value);
    $("threshold-value").textContent = `${times.toFixed(2)} × contour`;
    $("threshold-value").title = `density ${brief(times * this.usual)}`;
  }

  #tellPlace() {
    const { latent_dim: dimension } = this.particles.about;
    const [x, y] = this.at ?? [];
    const named = this.axes.map((name, i) => `${this.particles.column(name).label} = ${brief([x, y][i])}`);
    const rest = dimension > 2 && this.filled ? `; the other ${dimension - 2} coordinates as in the 8 nearest particles` : "";
    $("place").textContent = `half ${this.half}: ${named.join(", ")}${rest}.`;
  }

  #hover({ index, left, top }) {
    const tip = $("tooltip");
    tip.hidden = index < 0;
    if (index < 0) return;
    const column = this.particles.column($("colour").value);
    tip.textContent = `particle ${this.particles.shown[index]}\n${column.label}: ${brief(this.colourValues[index])} ${column.unit}`;
    const room = this.plot.element.clientWidth - left;
    tip.style.left = room < 240 ? "auto" : `${left + 14}px`;
    tip.style.right = room < 240 ? `${room + 14}px` : "auto";
    tip.style.top = `${Math.min(top + 12, this.plot.element.clientHeight - 50)}px`;
  }
}

function node(name, text = "") {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

function option({ identifier, label, unit }) {
  return new Option(unit ? `${label} (${unit})` : label, identifier);
}

