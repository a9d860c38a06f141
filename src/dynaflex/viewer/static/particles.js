// The particles as the page knows them: columns fetched once, the half that is shown, and planes of latent space.
import { brief, classColour, classTable, coded, gradient, quantity, table, UNKNOWN } from "./colours.js";
import { getBinary, getJson } from "./message.js";

const LONGEST_QUERY = 3500;
const css = (colour) => `rgb(${colour.join(" ")})`;

export class Particles {
  /** `half` is 1, 2 or 0 for both. */
  half = 0;
  #values = new Map();
  /** Of columns that are still being found: the share of the particles that they are known of. */
  #shares = new Map();

  constructor(about, shared) {
    Object.assign(this, { about, shared, columns: [...about.columns] });
  }

  /** Other latents of the same particles. */
  renew(about) {
    this.about = about;
    this.#values.clear();
  }

  /** The columns that take a while to read, of the particle table and of the analysis: {columns, trouble, hint}. */
  async loadTable() {
    const found = await getJson("api/columns");
    this.columns.push(...found.columns);
    return found;
  }

  column(identifier) {
    return this.columns.find((column) => column.identifier === identifier);
  }

  /** The values of a column for all particles, NaN where not known; requests for the same column share one answer. */
  values(identifier) {
    if (!this.#values.has(identifier)) {
      const asked = getBinary(`api/column/${identifier}`).then(({ share, data }) => {
        if (share < 1) this.#values.delete(identifier);
        this.#shares.set(identifier, share);
        return data[0];
      });
      this.#values.set(identifier, asked);
      asked.catch(() => this.#values.delete(identifier));
    }
    return this.#values.get(identifier);
  }

  /** The share of the particles that columns are known of, if they are still being found; else 0. */
  awaited(names) {
    const share = Math.min(...names.map((name) => this.#shares.get(name) ?? 1));
    return share < 1 ? share : 0;
  }

  /** Positions of the particles that are shown, among all. */
  async choose(half) {
    this.half = half;
    this.halves ??= await this.values("half");
    const { halves } = this;
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
    const label = this.title(identifier);
    if (["class", "cluster"].includes(column.kind)) {
      // Over all particles, so that a class has the same colour whichever half is shown.
      const found = await this.classes(identifier);
      const places = new Map(found.map(({ value }, i) => [value, i % 255]));
      const codes = Uint8Array.from(values, (value) => places.get(value) ?? 255);
      const classes = found.map((each, i) => ({ ...each, css: css(classColour(i % 255)) }));
      if (values.some(Number.isNaN)) classes.push({ text: "none", css: css(UNKNOWN), value: NaN });
      return { codes, table: classTable(), values, legend: { label, classes } };
    }
    const limits = percentiles(values, 0.02, 0.98);
    const [codes, colours] = coded(values, limits, table("scale"));
    return { codes, table: colours, values, legend: { label, css: gradient("scale"), texts: limits.map(brief) } };
  }

  /** The classes of a column, of all particles: [{value, text, count}]. */
  async classes(identifier) {
    const counts = new Map();
    for (const value of await this.values(identifier)) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].filter(([value]) => value === value).sort(([a], [b]) => a - b)
      .map(([value, count]) => ({ value, text: this.words(identifier, value), count }));
  }

  /** A value of a column as people write it, with its unit. */
  words(identifier, value) {
    const { kind, names, unit } = this.column(identifier);
    if (kind === "cluster" && Number.isNaN(value)) return "none";
    return names[value] ?? quantity(value, unit);
  }

  /** The name of a column with its unit. */
  title(identifier) {
    const { label, unit } = this.column(identifier);
    return unit ? `${label}, ${unit}` : label;
  }

  /** Whether the columns are axes of latent space; a place in the plane of others has no latents of its own. */
  inLatentSpace(names) {
    return names.every((name) => ["component", "latent"].includes(this.column(name).kind));
  }

  /** Where some latents of a half lie in the plane of two columns: a list of [x, y]. */
  async places(latents, half, names) {
    if (this.inLatentSpace(names)) return latents.map((z) => names.map((name) => this.#along(z, half, name)));
    const found = [];
    const together = Math.max(1, Math.floor(LONGEST_QUERY / (12 * this.about.latent_dim)));
    for (let i = 0; i < latents.length; i += together) {
      const rows = latents.slice(i, i + together).map(asText).join(";");
      found.push(...await getJson(`api/places?half=${half}&x=${names[0]}&y=${names[1]}&z=${rows}`));
    }
    return found;
  }

  #along(z, half, name) {
    const { mean, axes } = this.about.components[half];
    const k = Number(name.replace(/\D/g, "")) - 1;
    if (name.startsWith("latent")) return z[k];
    return axes[k].reduce((sum, axis, i) => sum + axis * (z[i] - mean[i]), 0);
  }

  /** Whose model shows the conformation at a place: that of the half shown, or of the particle next to it. */
  owner(index) {
    if (this.half) return this.half;
    if (index < 0) return this.about.halves[0];
    return this.halves[this.shown[index]];
  }
}

/** Latents as they stand in a request. */
export function asText(z) {
  return z.map((value) => value.toPrecision(5)).join(",");
}

function percentiles(values, ...shares) {
  const step = Math.max(1, Math.floor(values.length / 20000));
  const some = [];
  for (let i = 0; i < values.length; i += step) if (values[i] === values[i]) some.push(values[i]);
  some.sort((a, b) => a - b);
  const found = shares.map((share) => some[Math.round(share * (some.length - 1))] ?? 0);
  return found[0] === found[1] ? [found[0], found[0] + 1] : found;
}
