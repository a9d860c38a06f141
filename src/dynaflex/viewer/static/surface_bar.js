// The row above the surface: how it is drawn, what its colours mean, and how far they go.
import { getBinary } from "./message.js";
import { SlicesView, Slicing, VolumePlanes } from "./slices_view.js";

const $ = (id) => document.getElementById(id);

export class SurfaceBar {
  /** Limits of colours that were chosen by hand or came with the first conformation, by quantity. */
  #limits = new Map();

  /** `run` is the server's summary; `again` asks for the conformation that is shown. */
  constructor(view, run, again, fail) {
    Object.assign(this, { view, again });
    const kinds = [["surface", "surface"], [run.carrier, "parts"], ["both", "both"], ["slices", "slices"]];
    $("drawn-as").append(...kinds.map(([label, value]) => new Option(label, value)));
    this.slices = new SlicesView(view.element, new Slicing(), fail);
    view.element.addEventListener("painted", () => this.#slice());
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
    if (!this.#limits.has(key)) this.#limits.set(key, inRoundNumbers(colour.low, colour.high));
    this.key = key;
    view.limits = this.#limits.get(key);
    for (const [i, id] of ["least", "most"].entries()) if (document.activeElement !== $(id)) $(id).value = view.limits[i];
  }

  /** Scale the colours anew. */
  forget() {
    this.#limits.clear();
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
    this.#draw(view.shown === "slices");
    view.bySegment = colour === "segment";
    const more = [...($("arrows").checked ? ["arrows"] : []), ...(["parts", "both"].includes(view.shown) ? ["parts"] : [])];
    view.query = `&colour=${view.bySegment ? "none" : colour}${more.map((name) => `&more=${name}`).join("")}`;
    $("from").hidden = colour !== "local_resolution";
    $("limits").hidden = view.bySegment || colour === "none";
    $("drawn").hidden = !$("arrows").checked;
    this.#offerSegments(view.parts?.segments > 1);
  }

  /** Draw slices, or what can be seen in space. */
  #draw(sliced) {
    $("explore").dataset.drawnAs = $("drawn-as").value;
    this.view.hide(sliced);
    this.slices.element.hidden = !sliced;
    this.#slice();
  }

  /** The planes of the conformation that is shown. */
  #slice() {
    const { message } = this.view;
    if (!message) return;
    this.slices.slicing.frame(message.box_center, message.width);
    this.slices.show(new VolumePlanes(message));
  }

  /** Segments have colours where the mesh is seen. */
  #offerSegments(known) {
    const offered = $("surface-colour").querySelector("[value=segment]");
    const wanted = known && ["parts", "both"].includes(this.view.shown);
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

/** Two limits to a tenth of the leading digit of what lies between them: they stay apart, and short. */
function inRoundNumbers(low, high) {
  const step = 10 ** (Math.floor(Math.log10(high - low)) - 1);
  return [low, high].map((value) => Number((Math.round(value / step) * step).toPrecision(6)));
}
