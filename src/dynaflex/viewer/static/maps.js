// The panel of maps: two of them, side by side or one over the other, as surfaces or as slices.
import { Camera } from "./camera.js";
import { getBinary, getJson } from "./message.js";
import { Newest } from "./newest.js";
import { MapPlanes, SlicesView, Slicing, VolumePlanes } from "./slices_view.js";
import { SurfaceView } from "./surface_view.js";

const $ = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
const FLICKER = 600;

export class Maps {
  /** The surface of each side, once it is there; for tests, too. */
  views = null;
  /** What can be shown, by identifier: {label, about, ask(colour)}; `planes(message)` are its slices. */
  #choices = new Map();
  #camera = new Camera();
  #slicing = new Slicing();
  #loading = new Newest(() => this.#loadBoth());
  #started = null;
  #kept = 0;

  constructor(run, fail) {
    Object.assign(this, { run, fail });
    const tried = (work) => (event) => Promise.resolve(work(event)).catch(fail);
    $("maps-colour").append(new Option("none", ""), ...run.colours.map(({ id, label, unit }) => new Option(`${label} (${unit})`, id)));
    for (const { id, label } of run.maps) this.#offer(id, label, label, (colour) => `api/map/${id}?${colour && `colour=${colour}`}`, () => new MapPlanes(id));
    if (run.maps.length > 1) $("right-map").selectedIndex = 1;
    for (const side of SIDES) $(`${side}-map`).addEventListener("change", tried(() => this.load()));
    $("maps-threshold").addEventListener("input", tried(() => this.#cut()));
    $("maps-tidy").addEventListener("change", tried(() => this.#cut()));
    $("maps-colour").addEventListener("change", tried(() => this.load()));
    for (const id of ["arrangement", "maps-drawn-as"]) $(id).addEventListener("change", tried(() => this.#arrange()));
    $("share").addEventListener("input", () => this.#blend());
    $("swap").addEventListener("click", () => this.swap());
    setInterval(() => { if ($("flicker").checked && $("flicker").checkVisibility()) this.swap(); }, FLICKER);
  }

  /** Load what is shown when the panel is seen for the first time. */
  open() {
    this.#started ??= this.#start().catch((error) => {
      this.#started = null;
      this.fail(error);
    });
    return this.#started;
  }

  /** A conformation that the user keeps, to be compared; returns its name. */
  keep({ half, z, words }) {
    this.#kept += 1;
    const name = `conformation ${this.#kept}`;
    const query = `api/conformation?half=${half}&size=fine&z=${z.join(",")}`;
    this.#offer(`kept${this.#kept}`, name, `${name}: ${words}`, (colour) => `${query}&colour=${colour || "none"}`, (message) => new VolumePlanes(message));
    return name;
  }

  /** Choose two maps that change, one for each node of a path: `left` and `right` are {label, about(), ask()}. */
  compare(sides) {
    for (const side of SIDES) {
      const { label, about, ask } = sides[side];
      const id = `path-${side}`;
      if (!this.#choices.has(id)) this.#offer(id, label, "", () => "", (message) => new VolumePlanes(message));
      Object.assign(this.#choices.get(id), { about, ask });
      $(`${side}-map`).value = id;
    }
  }

  /** Of two maps one over the other, show the other one. */
  swap() {
    $("arrangement").value = "over";
    $("share").value = Number($("share").value) < 0.5 ? 1 : 0;
    this.#arrange().catch(this.fail);
  }

  paint() {
    for (const view of Object.values(this.views ?? {})) view.paint();
    for (const slices of Object.values(this.slices ?? {})) slices.draw();
  }

  #offer(id, label, about, path, planes) {
    this.#choices.set(id, { about: () => about, ask: (colour) => getBinary(path(colour)), planes });
    for (const side of SIDES) $(`${side}-map`).append(new Option(label, id));
  }

  async #start() {
    if (!this.#choices.size) {
      for (const side of SIDES) $(`${side}-pane`).textContent = "There are no maps yet.";
      return;
    }
    this.views = Object.fromEntries(SIDES.map((side) => [side, new SurfaceView($(`${side}-pane`), this.#camera, side)]));
    this.views.left.plain = "--other-surface";
    this.slices = Object.fromEntries(SIDES.map((side) => [side, new SlicesView($(`${side}-pane`), this.#slicing, this.fail)]));
    const { whole } = await getJson("api/curves");
    for (const [id, name] of [["rigid", "rigid"], ["corrected", "deformed"]]) {
      const value = whole[name]?.resolution?.["0.143"];
      const choice = this.#choices.get(id);
      if (!value || !choice) continue;
      const words = `${choice.about()}: ${value.toFixed(2)} Å at FSC 0.143`;
      choice.about = () => words;
    }
    await this.load();
  }

  /** Whether maps that were asked for are still to come. */
  get busy() {
    return this.#loading.busy;
  }

  /** Load what the menus say, once that is not changing. */
  async load() {
    if (this.views) await this.#loading.ask();
  }

  async #loadBoth() {
    const colour = $("maps-colour").value;
    const choices = SIDES.map((side) => this.#choices.get($(`${side}-map`).value));
    const shown = await Promise.all(choices.map((choice) => choice.ask(colour)));
    // One scale of colours for both, and one of greys.
    const coloured = shown.toReversed().find((message) => message.colour)?.colour;
    for (const [i, side] of SIDES.entries()) {
      const [view, message, { about, planes }] = [this.views[side], shown[i], choices[i]];
      const words = about();
      $(`${side}-title`).textContent = words[0].toUpperCase() + words.slice(1);
      view.limits = coloured ? [coloured.low, coloured.high] : [0, 1];
      view.usual = message.level;
      view.level = message.level * Number($("maps-threshold").value);
      if (!this.framed) {
        this.#camera.frame(message.box_center, message.width * 0.52, message.side);
        this.#slicing.frame(message.box_center, message.width);
        this.framed = true;
      }
      this.slices[side].source = planes(message);
      await view.show(message);
    }
    this.#tell();
    await this.#arrange();
  }

  async #arrange() {
    const [over, sliced] = [$("arrangement").value === "over", $("maps-drawn-as").value === "slices"];
    Object.assign($("maps").dataset, { arrangement: $("arrangement").value, drawnAs: $("maps-drawn-as").value });
    $("over").hidden = !over;
    for (const side of this.views ? SIDES : []) {
      this.views[side].hide(sliced);
      this.slices[side].element.hidden = !sliced;
    }
    this.#blend();
    if (sliced) await this.#slice();
  }

  /** The same greys on both sides. */
  async #slice() {
    if (!this.slices) return;
    const slices = Object.values(this.slices);
    const planes = await Promise.all(slices.map(({ source }) => source.plane("z", this.#slicing.at.z)));
    const known = planes.filter(Boolean);
    const limits = [Math.min(...known.map(({ low }) => low)), Math.max(...known.map(({ high }) => high))];
    await Promise.all(slices.map((each) => each.show(each.source, known.length ? limits : null)));
  }

  #blend() {
    const share = $("arrangement").value === "over" ? Number($("share").value) : 1;
    $("right-pane").style.opacity = share;
    $("right-title").style.opacity = 0.35 + 0.65 * share;
    $("left-title").style.opacity = $("arrangement").value === "over" ? 1 - 0.65 * share : 1;
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
