// The row that gathers particles by lasso, cluster and class, names them and has them saved.
import { getJson, post } from "./message.js";

const $ = (id) => document.getElementById(id);

export class SelectionBar {
  #mask = null;
  /** What was done to come to the selection, in words that are stored with it. */
  #steps = [];

  constructor(explore) {
    this.explore = explore;
    const tried = (work) => () => Promise.resolve(work()).catch(explore.fail);
    $("save").addEventListener("click", tried(() => this.save()));
    $("selection-name").addEventListener("keydown", (event) => { if (event.key === "Enter") $("save").click(); });
    $("clear-selection").addEventListener("click", () => this.clear());
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

  clear() {
    [this.#mask, this.#steps] = [null, []];
    this.refresh();
  }

  /** Show the selection among the particles that are shown now. */
  refresh() {
    const { shown } = this.explore.particles;
    this.explore.plot.select(this.#mask && Uint8Array.from(shown, (i) => this.#mask[i]));
    this.#tell();
  }

  async save() {
    const bits = new Uint8Array(Math.ceil(this.#mask.length / 8));
    for (let i = 0; i < this.#mask.length; i++) if (this.#mask[i]) bits[i >> 3] |= 1 << (i & 7);
    const saved = await post("api/selections", { name: $("selection-name").value, how: this.#steps.join("; ") }, bits);
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
    if (way === "replace" || !this.#mask) [this.#mask, this.#steps] = [new Uint8Array(chosen.length), []];
    for (let i = 0; i < chosen.length; i++) if (chosen[i]) this.#mask[i] = way === "remove" ? 0 : 1;
    this.#steps.push(way === "remove" ? `without ${step}` : step);
    if (this.#mask.some(Boolean)) this.refresh();
    else this.clear();
  }

  #tell() {
    const { shown } = this.explore.particles;
    const count = this.#mask ? this.#mask.reduce((sum, one) => sum + one, 0) : 0;
    const seen = count ? shown.reduce((sum, i) => sum + this.#mask[i], 0) : 0;
    const share = ((100 * count) / (this.#mask?.length ?? 1)).toFixed(1);
    const hidden = count - seen ? `, ${(count - seen).toLocaleString("en")} of the half not shown` : "";
    $("selected").textContent = count ? `${count.toLocaleString("en")} particles (${share} %)${hidden}` : "nothing selected";
    for (const id of ["save", "clear-selection", "selection-name"]) $(id).disabled = !count;
  }
}
