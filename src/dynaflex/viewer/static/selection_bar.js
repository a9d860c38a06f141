// The row that names a selection of particles and has it saved.
import { getJson, post } from "./message.js";

const $ = (id) => document.getElementById(id);

export class SelectionBar {
  #mask = null;

  constructor(explore) {
    this.explore = explore;
    const tried = (work) => () => Promise.resolve(work()).catch(explore.fail);
    $("save").addEventListener("click", tried(() => this.save()));
    $("selection-name").addEventListener("keydown", (event) => { if (event.key === "Enter") $("save").click(); });
    $("clear-selection").addEventListener("click", () => this.clear());
    this.#tell();
    tried(() => this.list())();
  }

  /** One byte per particle that is shown. */
  choose(mask) {
    const { shown, about } = this.explore.particles;
    const all = new Uint8Array(about.count);
    for (let i = 0; i < mask.length; i++) all[shown[i]] = mask[i];
    this.#mask = mask.some(Boolean) ? all : null;
    this.refresh();
  }

  clear() {
    this.#mask = null;
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
    const how = `lasso in ${this.explore.axes.join(", ")}`;
    const saved = await post("api/selections", { name: $("selection-name").value, how }, bits);
    $("selection-name").value = "";
    await this.list();
    $("saved").textContent = `${saved.count.toLocaleString("en")} particles saved: ${saved.file}`;
  }

  async list() {
    const found = await getJson("api/selections");
    if (found.length) $("saved").textContent = `${found.length} saved, the last: ${found.at(-1).name} (${found.at(-1).file})`;
  }

  #tell() {
    const count = this.#mask ? this.#mask.reduce((sum, one) => sum + one, 0) : 0;
    const share = (100 * count) / (this.#mask?.length ?? 1);
    $("selected").textContent = count ? `${count.toLocaleString("en")} particles (${share.toFixed(1)} %)` : "nothing selected: use the lasso";
    for (const id of ["save", "clear-selection", "selection-name"]) $(id).disabled = !count;
  }
}
