// The row that gathers particles by lasso, cluster and class, names them and has them saved.
import { getJson, post, postForBinary } from "./message.js";

const $ = (id) => document.getElementById(id);

export class SelectionBar {
  /** One byte per particle, or null. */
  mask = null;
  /** What was done to come to the selection, in words that are stored with it. */
  #steps = [];

  constructor(explore) {
    this.explore = explore;
    const tried = (work) => () => Promise.resolve(work()).catch(explore.fail);
    $("save").addEventListener("click", tried(() => this.save()));
    $("selection-name").addEventListener("keydown", (event) => { if (event.key === "Enter") $("save").click(); });
    $("clear-selection").addEventListener("click", () => this.clear());
    $("other-half").addEventListener("click", tried(() => this.addOtherHalf()));
    $("cluster").addEventListener("change", tried(() => {
      const [identifier, value] = $("cluster").value.split(" ");
      $("cluster").value = "";
      return this.chooseClass(identifier, Number(value));
    }));
    this.#tell();
    tried(() => this.list())();
  }

  /** Fill the menu of clusters, once the analysis has been read. */
  async offerClusters() {
    const { particles } = this.explore;
    const kinds = particles.columns.filter((column) => column.kind === "cluster");
    for (const { identifier, label } of kinds) {
      const group = $("cluster").appendChild(document.createElement("optgroup"));
      group.label = `${label}s`;
      for (const { value, text, count } of await particles.classes(identifier)) {
        group.append(new Option(`${label} ${text} (${count.toLocaleString("en")})`, `${identifier} ${value}`));
      }
    }
    $("cluster").disabled = !kinds.length;
  }

  /** Particles inside a lasso: one byte per particle that is shown. */
  chooseShown(mask, adds) {
    const { shown, about } = this.explore.particles;
    const all = new Uint8Array(about.count);
    for (let i = 0; i < mask.length; i++) all[shown[i]] = mask[i];
    const names = this.explore.axes.map((name) => this.explore.particles.column(name).label);
    this.#combine(all, `lasso in ${names.join(", ")}`, adds);
  }

  /** The particles of a class of a column, of both halves; NaN: those that are in none. */
  async chooseClass(identifier, value, adds = false) {
    const { particles } = this.explore;
    const values = await particles.values(identifier);
    const all = Uint8Array.from(values, (each) => each === value || (Number.isNaN(value) && Number.isNaN(each)));
    this.#combine(all, `${particles.column(identifier).label} ${particles.words(identifier, value)}`, adds);
  }

  /** The particles of the other half in the same region. */
  async addOtherHalf() {
    const { data: [chosen] } = await postForBinary("api/counterparts", {}, bits(this.mask));
    this.mask = chosen;
    this.#steps.push(`the same region of half ${$("other-half").value}`);
    this.refresh();
  }

  clear() {
    [this.mask, this.#steps] = [null, []];
    this.refresh();
  }

  /** Show the selection among the particles that are shown now. */
  refresh() {
    const { shown } = this.explore.particles;
    this.explore.plot.select(this.mask && Uint8Array.from(shown, (i) => this.mask[i]));
    this.#tell();
  }

  async save() {
    const about = { name: $("selection-name").value, how: this.#steps.join("; ") };
    const saved = await post("api/selections", about, bits(this.mask));
    $("selection-name").value = "";
    await this.list();
    this.#report(`${saved.count.toLocaleString("en")} particles saved: ${saved.file}`);
  }

  async list() {
    const found = await getJson("api/selections");
    if (found.length) this.#report(`${found.length} saved, the last: ${found.at(-1).name} (${found.at(-1).file})`);
  }

  /** In the line's end, which may be too short for it. */
  #report(text) {
    $("saved").textContent = text;
    $("saved").title = text;
  }

  /** `chosen`, one byte per particle, takes the place of the selection, joins it or is taken from it. */
  #combine(chosen, step, adds) {
    const way = adds ? "add" : $("combine").value;
    if (way === "replace" || !this.mask) [this.mask, this.#steps] = [new Uint8Array(chosen.length), []];
    for (let i = 0; i < chosen.length; i++) if (chosen[i]) this.mask[i] = way === "remove" ? 0 : 1;
    this.#steps.push(way === "remove" ? `without ${step}` : step);
    if (this.mask.some(Boolean)) this.refresh();
    else this.clear();
  }

  #tell() {
    const { about } = this.explore.particles;
    const { counts, unseen } = this.#counted();
    const total = counts[1] + counts[2];
    const missing = total ? about.halves.find((half) => !counts[half]) : undefined;
    const whose = missing ? `half ${3 - missing} only: a refinement needs both`
      : about.halves.map((half) => `${counts[half].toLocaleString("en")} of half ${half}`).join(", ");
    const share = ((100 * total) / about.count).toFixed(1);
    const hidden = unseen && !missing ? `; ${unseen.toLocaleString("en")} not shown` : "";
    $("selected").textContent = total ? `${total.toLocaleString("en")} particles (${share} %): ${whose}${hidden}` : "nothing selected";
    $("selected").classList.toggle("warning", Boolean(missing));
    $("other-half").hidden = !missing;
    if (missing) Object.assign($("other-half"), { value: missing, textContent: `Add the same of half ${missing}` });
    for (const id of ["save", "clear-selection", "selection-name"]) $(id).disabled = !total;
  }

  /** How many of each half are selected, and how many of these are not shown. */
  #counted() {
    const { halves, shown } = this.explore.particles;
    const counts = [0, 0, 0];
    if (!this.mask) return { counts, unseen: 0 };
    for (let i = 0; i < this.mask.length; i++) if (this.mask[i]) counts[halves[i]] += 1;
    let seen = 0;
    for (let i = 0; i < shown.length; i++) seen += this.mask[shown[i]];
    return { counts, unseen: counts[1] + counts[2] - seen };
  }
}

/** A mask with a byte each as one with a bit each. */
export function bits(mask) {
  const packed = new Uint8Array(Math.ceil(mask.length / 8));
  for (let i = 0; i < mask.length; i++) if (mask[i]) packed[i >> 3] |= 1 << (i & 7);
  return packed;
}
