// The row above the surface: what is shown, what its colours mean, and how far they go.
import { getBinary } from "./message.js";

const $ = (id) => document.getElementById(id);
const PARTS = { dynamight: "Gaussians", flex: "mesh" };

export class SurfaceBar {
  /** Limits of colours that were chosen by hand or came with the first conformation, by quantity. */
  #limits = new Map();

  /** `run` is the server's summary; `again` asks for the conformation that is shown. */
  constructor(view, run, again, fail) {
    Object.assign(this, { view, again });
    const name = PARTS[run.method];
    $("drawn-as").append(new Option("surface", "surface"), new Option(name, "parts"), new Option("both", "both"));
    const maps = run.colours.map(({ id, label }) => new Option(label, id));
    $("surface-colour").append(new Option("displacement", "displacement"), ...maps, new Option("none", "none"));
    const tried = (work) => (event) => Promise.resolve(work(event)).catch(fail);
    for (const id of ["drawn-as", "surface-colour", "arrows"]) $(id).addEventListener("change", tried(() => this.#choose()));
    for (const id of ["least", "most"]) $(id).addEventListener("input", () => this.#limit());
    $("times").addEventListener("input", () => {
      view.times = Number($("times").value) > 0 ? Number($("times").value) : null;
      view.refresh();
    });
    view.prepare = (message) => this.#prepare(message);
    this.#ask();
  }

  /** A conformation has come: get its parts if they are to be seen, and the limits of its colours. */
  async #prepare(message) {
    const { view } = this;
    if (message.layers.includes("parts") && view.parts?.half !== message.half) {
      view.parts = await getBinary(`api/parts?half=${message.half}`);
      this.#offerSegments(view.parts.segments > 1);
    }
    const { colour } = message;
    if (!colour) return;
    // What is displaced how far differs between the halves; the maps are of both.
    const key = colour.id === "displacement" ? `${colour.id} ${message.half}` : colour.id;
    if (!this.#limits.has(key)) this.#limits.set(key, [colour.low, colour.high].map((value) => Number(value.toPrecision(2))));
    this.key = key;
    view.limits = this.#limits.get(key);
    for (const [i, id] of ["least", "most"].entries()) if (document.activeElement !== $(id)) $(id).value = view.limits[i];
  }

  async #choose() {
    this.#ask();
    await this.again();
    this.view.refresh();
  }

  /** What the server is asked for, from the menus. */
  #ask() {
    const { view } = this;
    const colour = $("surface-colour").value;
    view.shown = $("drawn-as").value;
    view.bySegment = colour === "segment";
    const more = [...($("arrows").checked ? ["arrows"] : []), ...(view.shown === "surface" ? [] : ["parts"])];
    view.query = `&colour=${view.bySegment ? "none" : colour}${more.map((name) => `&more=${name}`).join("")}`;
    $("from").hidden = colour !== "local_resolution";
    $("limits").hidden = view.bySegment || colour === "none";
    $("drawn").hidden = !$("arrows").checked;
    this.#offerSegments(view.parts?.segments > 1);
  }

  /** Segments have colours where the mesh is seen. */
  #offerSegments(known) {
    const offered = $("surface-colour").querySelector("[value=segment]");
    const wanted = known && this.view.shown !== "surface";
    if (wanted && !offered) $("surface-colour").append(new Option("segments of the mesh", "segment"));
    if (!wanted && offered && !offered.selected) offered.remove();
  }

  #limit() {
    const [low, high] = ["least", "most"].map((id) => Number($(id).value));
    if (!(high > low)) return;
    this.view.limits = [low, high];
    this.#limits.set(this.key, this.view.limits);
    this.view.refresh();
  }
}
