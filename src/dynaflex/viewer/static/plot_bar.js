// The row above the plot: its axes, whose particles it shows, their colours, and what the pointer does.
import { showLegend } from "./legend.js";

const $ = (id) => document.getElementById(id);
const OFTEN = 400;

/** Events: "axes" after others are shown, "half" after the user chose whose particles, "class" {column, value, adds}. */
export class PlotBar extends EventTarget {
  constructor(plot, particles, fail) {
    super();
    Object.assign(this, { plot, particles, fail });
    const axes = particles.columns.filter((column) => ["motion", "component", "latent"].includes(column.kind));
    for (const name of ["x", "y"]) $(name).append(...axes.map(option));
    if (axes.length > 1) $("y").selectedIndex = 1;
    const colours = particles.columns.filter((column) => column.kind !== "motion");
    $("colour").append(...colours.map(option));
    $("colour").value = particles.column("displacement") ? "displacement" : "half";
    const halves = particles.about.halves.map((half) => new Option(`half ${half}`, half));
    $("half").append(new Option(particles.shared ? "all" : "both halves", 0), ...halves);
    const tried = (work) => (event) => Promise.resolve(work(event)).catch(fail);
    for (const id of ["x", "y"]) $(id).addEventListener("change", tried(() => this.#changeAxes()));
    $("half").addEventListener("change", tried(async () => {
      await this.#choose(Number($("half").value));
      await this.show();
      this.dispatchEvent(new Event("half"));
    }));
    $("colour").addEventListener("change", tried(() => this.#colour()));
    for (const button of $("tools").children) button.addEventListener("click", () => this.setTool(button.dataset.tool));
    plot.addEventListener("hover", ({ detail }) => this.#hover(detail));
    this.setTool("show");
  }

  get axes() {
    return [$("x").value, $("y").value];
  }

  setTool(name) {
    this.plot.tool = name;
    for (const button of $("tools").children) button.setAttribute("aria-checked", String(button.dataset.tool === name));
  }

  /** Show the particles for the first time, or when there are new latents. */
  async start() {
    await this.#choose(this.particles.half || this.#suitable());
    await this.show();
  }

  /** Show the particles along the axes that are chosen; those that are still being found come as they are. */
  async show() {
    const { axes, particles, plot } = this;
    const [x, y] = await Promise.all(axes.map((name) => particles.shownValues(name)));
    if (String(axes) !== String(this.axes)) return;
    plot.set(x, y);
    plot.labels = axes.map((name) => particles.title(name));
    await this.#colour();
    plot.fit();
    this.dispatchEvent(new Event("axes"));
    this.#follow(axes).catch(this.fail);
  }

  /** More columns have been read: offer them. */
  async offer({ columns, hint }) {
    $("colour").append(...columns.filter((column) => column.kind !== "layout").map(option));
    for (const name of ["x", "y"]) {
      $(name).append(...columns.filter((column) => column.kind === "layout").map(option));
      if (hint) $(name).append(Object.assign(new Option(hint), { disabled: true }));
    }
    this.rows = await this.particles.values("row");
  }

  async #changeAxes() {
    const half = this.#suitable();
    if (Boolean(half) !== Boolean(this.particles.half)) await this.#choose(half);
    await this.show();
  }

  /** Axes of one half show that half, and axes that both have in common show both. */
  #suitable() {
    const { particles } = this;
    return particles.shared || !particles.inLatentSpace(this.axes) ? 0 : particles.half || particles.about.halves[0];
  }

  async #choose(half) {
    await this.particles.choose(half);
    $("half").value = half;
  }

  /** Ask again for places that are not known yet, until all are. */
  async #follow(axes) {
    const { particles, plot } = this;
    while (String(axes) === String(this.axes) && particles.awaited(axes)) {
      await new Promise((resolve) => { setTimeout(resolve, OFTEN); });
      const [x, y] = await Promise.all(axes.map((name) => particles.shownValues(name)));
      if (String(axes) !== String(this.axes) || x.length !== particles.shown.length) return;
      plot.set(x, y);
      this.#tell();
      plot.draw();
    }
    if (String(axes) === String(this.axes)) this.#tell();
  }

  async #colour() {
    const found = await this.particles.colours($("colour").value);
    this.plot.colour(found.codes, found.table);
    this.colourValues = found.values;
    this.legend = found.legend;
    this.plot.draw();
    this.#tell();
  }

  #tell() {
    const { half, shared, shown } = this.particles;
    const apart = !half && !shared && this.particles.inLatentSpace(this.axes) ? "; each half has axes of its own" : "";
    const share = this.particles.awaited(this.axes);
    const placed = share ? `, ${Math.floor(100 * share)} % placed by their motion` : "";
    const note = `· ${shown.length.toLocaleString("en")} particles${placed}${apart}`;
    const column = $("colour").value;
    showLegend($("legend"), this.legend, note, (detail) => {
      this.dispatchEvent(new CustomEvent("class", { detail: { column, ...detail } }));
    });
  }

  #hover({ index, left, top }) {
    const tip = $("tooltip");
    tip.hidden = index < 0;
    if (index < 0) return;
    const colour = $("colour").value;
    const value = this.particles.words(colour, this.colourValues[index]);
    const row = this.rows ? `row ${this.rows[this.particles.shown[index]]}\n` : "";
    tip.textContent = `${row}${this.particles.column(colour).label}: ${value}`;
    const room = this.plot.element.clientWidth - left;
    tip.style.left = room < 240 ? "auto" : `${left + 14}px`;
    tip.style.right = room < 240 ? `${room + 14}px` : "auto";
    tip.style.top = `${Math.min(top + 12, this.plot.element.clientHeight - 50)}px`;
  }
}

function option({ identifier, label, unit }) {
  return new Option(unit ? `${label} (${unit})` : label, identifier);
}
