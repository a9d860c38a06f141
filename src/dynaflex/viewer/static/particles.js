// The particles as the page knows them: columns fetched once, the half that is shown, and planes of latent space.
import { brief, classTable, CLASSES, coded, gradient, table } from "./colours.js";
import { getBinary, getJson } from "./message.js";

export class Particles {
  /** `half` is 1, 2 or 0 for both. */
  half = 0;
  #values = new Map();

  constructor(about, shared) {
    Object.assign(this, { about, shared, columns: [...about.columns] });
    this.half = shared || about.halves.length < 2 ? 0 : about.halves[0];
  }

  /** Columns of the particle table, which take a while to read. */
  async loadTable() {
    const found = await getJson("api/columns");
    this.columns.push(...found);
    return found;
  }

  column(identifier) {
    return this.columns.find((column) => column.identifier === identifier);
  }

  /** The values of a column for all particles; requests for the same column share one answer. */
  values(identifier) {
    if (!this.#values.has(identifier)) {
      const asked = getBinary(`api/column/${identifier}`).then((message) => message.data[0]);
      this.#values.set(identifier, asked);
      asked.catch(() => this.#values.delete(identifier));
    }
    return this.#values.get(identifier);
  }

  /** Positions of the particles that are shown, among all. */
  async choose(half) {
    this.half = half;
    const halves = await this.values("half");
    this.shown = Uint32Array.from({ length: half ? halves.reduce((n, h) => n + (h === half), 0) : halves.length });
    let at = 0;
    for (let i = 0; i < halves.length; i++) if (!half || halves[i] === half) this.shown[at++] = i;
  }

  /** A column of the particles that are shown. */
  async shownValues(identifier) {
    const values = await this.values(identifier);
    const { shown } = this;
    const out = new Float32Array(shown.length);
    for (let i = 0; i < out.length; i++) out[i] = values[shown[i]];
    return out;
  }

  /** Codes and colours of a column, and the legend that goes with them: {label, css, texts} or {classes}. */
  async colours(identifier) {
    const column = this.column(identifier);
    const values = await this.shownValues(identifier);
    const label = column.unit ? `${column.label}, ${column.unit}` : column.label;
    if (column.kind === "class") {
      const found = [...new Set(values)].sort((a, b) => a - b);
      const places = new Map(found.map((value, i) => [value, i]));
      const codes = Uint8Array.from(values, (value) => places.get(value) % CLASSES.length);
      const classes = found.map((value, i) => ({ text: brief(value), css: CLASSES[i % CLASSES.length] }));
      return { codes, table: classTable(), values, legend: { label, classes } };
    }
    const limits = percentiles(values, 0.02, 0.98);
    const [codes, colours] = coded(values, limits, table("scale"));
    return { codes, table: colours, values, legend: { label, css: gradient("scale"), texts: limits.map(brief) } };
  }

  /** Where latents of a half lie in the plane of two columns. */
  place(z, half, names) {
    const { mean, axes } = this.about.components[half];
    return names.map((name) => {
      const k = Number(name.replace(/\D/g, ""));
      if (name.startsWith("z")) return z[k];
      return axes[k].reduce((sum, axis, i) => sum + axis * (z[i] - mean[i]), 0);
    });
  }

  /** Whose model shows the conformation at a place: that of the half shown, or of the particle next to it. */
  async owner(index) {
    if (this.half) return this.half;
    if (index < 0) return this.about.halves[0];
    return (await this.values("half"))[this.shown[index]];
  }
}

function percentiles(values, ...shares) {
  const step = Math.max(1, Math.floor(values.length / 20000));
  const some = [];
  for (let i = 0; i < values.length; i += step) if (values[i] === values[i]) some.push(values[i]);
  some.sort((a, b) => a - b);
  const found = shares.map((share) => some[Math.round(share * (some.length - 1))] ?? 0);
  return found[0] === found[1] ? [found[0], found[0] + 1] : found;
}
