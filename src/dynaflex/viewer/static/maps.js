// The second panel: the rigid and the corrected map, seen by one camera.
import { Camera } from "./camera.js";
import { getBinary, getJson } from "./message.js";
import { SurfaceView } from "./surface_view.js";

const $ = (id) => document.getElementById(id);

export class Maps {
  #camera = new Camera();
  #started = null;

  constructor(run, fail) {
    this.run = run;
    this.fail = fail;
    $("maps-colour").append(new Option("none", ""), ...run.colours.map(({ id, label, unit }) => new Option(`${label} (${unit})`, id)));
    $("maps-threshold").addEventListener("input", () => this.#cut().catch(fail));
    $("maps-tidy").addEventListener("change", () => this.#cut().catch(fail));
    $("maps-colour").addEventListener("change", () => this.#load().catch(fail));
  }

  /** Load what is shown when the panel is seen for the first time. */
  open() {
    this.#started ??= this.#start().catch((error) => {
      this.#started = null;
      this.fail(error);
    });
    return this.#started;
  }

  async #start() {
    this.views = Object.fromEntries(this.run.maps.map((id) => [id, new SurfaceView($(id), this.#camera, id)]));
    for (const id of ["rigid", "corrected"]) {
      if (!this.views[id]) $(id).textContent = "There are no half-maps of this kind yet.";
    }
    const curves = await getJson("api/curves");
    for (const [id, name] of [["rigid", "rigid"], ["corrected", "deformed"]]) {
      const value = curves.whole[name]?.resolution?.["0.143"];
      if (value) $(`${id}-title`).textContent += `: ${value.toFixed(2)} Å at FSC 0.143`;
    }
    await this.#load();
  }

  async #load() {
    const colour = $("maps-colour").value;
    let limits = null;
    for (const [id, view] of Object.entries(this.views)) {
      const message = await getBinary(`api/map/${id}${colour ? `?colour=${colour}` : ""}`);
      view.usual = message.level;
      view.level = message.level * Number($("maps-threshold").value);
      // One scale for both: that of the map that is loaded first, the corrected one.
      limits ??= message.colour && [message.colour.low, message.colour.high];
      view.limits = limits ?? [0, 1];
      if (!this.framed) {
        this.#camera.frame(message.box_center, message.width * 0.52, message.side);
        this.framed = true;
      }
      await view.show(message);
    }
    this.#tell();
  }

  async #cut() {
    this.#tell();
    const times = Number($("maps-threshold").value);
    await Promise.all(Object.values(this.views ?? {}).map((view) => {
      view.tidy = $("maps-tidy").checked;
      return view.cut(view.usual * times);
    }));
  }

  #tell() {
    $("maps-threshold-value").textContent = `${Number($("maps-threshold").value).toFixed(2)} × contour`;
  }
}
