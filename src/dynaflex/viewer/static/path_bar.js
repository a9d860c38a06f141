// The row below the panels that draws paths, plays and exports them.
import { getBinary, getJson } from "./message.js";
import { download, Movie } from "./movie.js";
import { asText } from "./particles.js";
import { videoKind } from "./video.js";

const $ = (id) => document.getElementById(id);
const DENSE = "dense";
const MAIN = "motion1";
const [NODES, DENSE_NODES] = [17, 33];

export class PathBar {
  /** Latents that were clicked, in order. */
  stops = [];

  constructor(explore) {
    this.explore = explore;
    this.movie = new Movie(explore.view);
    const axes = explore.particles.columns.filter((column) => ["motion", "component"].includes(column.kind));
    $("axis").append(new Option("choose…", ""), ...axes.map(({ label, identifier }) => new Option(label, identifier)));
    $("axis").append(new Option("dense regions", DENSE));
    const tried = (work) => (event) => Promise.resolve(work(event)).catch(explore.fail);
    $("axis").addEventListener("change", tried(() => this.along($("axis").value)));
    $("frames").addEventListener("change", () => this.movie.setFrames(Number($("frames").value)));
    for (const id of ["play", "play-first"]) $(id).addEventListener("click", tried(() => this.toggle()));
    $("frame").addEventListener("input", tried(() => {
      this.movie.stop();
      return this.movie.show(Number($("frame").value));
    }));
    $("export").addEventListener("change", tried(() => this.save()));
    $("clear-path").addEventListener("click", () => this.clear());
    this.movie.addEventListener("nodes", tried(() => {
      this.refresh();
      return explore.route();
    }));
    this.movie.addEventListener("state", () => this.refresh());
    this.movie.addEventListener("met", ({ detail }) => explore.meet(detail));
    this.movie.addEventListener("frame", ({ detail }) => {
      $("frame").value = detail.index;
      explore.movedAlong(detail);
    });
    this.refresh();
    tried(() => this.#offerVideo())();
  }

  /** The menu offers what this browser can make, and its tooltip says why not more. */
  async #offerVideo() {
    const { ending, why } = await videoKind();
    const choice = $("export").querySelector("[value=video]");
    if (ending) choice.textContent = ending === "mp4" ? "MP4" : "WebM";
    else choice.remove();
    if (ending === "webm") $("export").title += "; this browser records WebM, no MP4";
    if (why) $("export").title += `; ${why}`;
  }

  /** The main motion, played at once; who has asked for less motion sees its first frame and is offered to play it. */
  async begin() {
    $("axis").value = MAIN;
    await this.#load(MAIN);
    await this.explore.showLatents(this.movie.latents(0), this.movie.half);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) $("play-first").hidden = false;
    else this.movie.play().catch(this.explore.fail);
  }

  /** The path along the same axis, after the training has gone on; false if it is another kind of path, or none. */
  async renew() {
    const axis = $("axis").value;
    if (!axis || axis === DENSE || !this.movie.nodes.length) return false;
    await this.#load(axis);
    return true;
  }

  clear() {
    this.stops = [];
    $("axis").value = "";
    this.movie.reset([], null);
  }

  /** Add the conformation at a place of the plot to those that were clicked. */
  async addAt(x, y) {
    const { explore, movie } = this;
    const [left, top] = explore.plot.toPixels(x, y);
    const nearest = explore.particles.half ? -1 : explore.plot.nearest(left, top, 1e4);
    const half = (this.stops.length && movie.half) || explore.particles.owner(nearest);
    const [a, b] = explore.axes;
    const message = await getBinary(`api/conformation?half=${half}&size=coarse&x=${a}&y=${b}&at=${x},${y}`);
    this.stops.push(message.z);
    if ($("axis").value === DENSE && this.stops.length > 1) await this.#throughDenseRegions(half);
    else movie.reset([...this.stops], half);
    await explore.showLatents(message.z, half);
  }

  /** A path along an axis of motion or a component, or where the particles are. */
  async along(axis) {
    if (axis === "") return;
    await this.#load(axis);
    await this.movie.show(0);
  }

  async #load(axis) {
    const { particles } = this.explore;
    const half = (this.stops.length && this.movie.half) || particles.half || particles.about.halves[0];
    if (axis === DENSE) {
      await this.#throughDenseRegions(half);
      return;
    }
    this.stops = [];
    this.movie.reset(await getJson(`api/path?half=${half}&axis=${axis}&frames=${NODES}`), half);
  }

  /** By way of the places that were clicked, if there are two; else between the ends of component 1. */
  async #throughDenseRegions(half) {
    if (this.stops.length < 2) this.stops = [];
    const through = this.stops.map(asText).join(";");
    this.movie.reset(await getJson(`api/dense_path?half=${half}&frames=${DENSE_NODES}&through=${through}`), half);
  }

  /** Stop, or play; who has chosen no path sees the main motion. */
  async toggle() {
    if (this.movie.playing) {
      this.movie.stop();
      return;
    }
    if (!this.movie.nodes.length) {
      $("axis").value = MAIN;
      await this.along(MAIN);
    }
    await this.movie.play();
  }

  async save() {
    const kind = $("export").value;
    $("export").value = "";
    if (!kind || !this.movie.ready) return;
    $("export").disabled = true;
    try {
      const file = await this.movie.exported(kind, (text) => { $("saved").textContent = text; });
      download(file);
      const alone = file.alone ? `; no particle is near ${file.alone} of its ${this.movie.frames} frames` : "";
      $("saved").textContent = `${file.name} is among the browser's downloads${alone}`;
    } finally {
      this.refresh();
    }
  }

  refresh() {
    const { ready, playing, frames } = this.movie;
    $("play").textContent = playing ? "■ Stop" : "▶ Play";
    if (playing || !ready) $("play-first").hidden = true;
    $("frame").max = frames - 1;
    const { length } = this.movie.nodes;
    for (const id of ["frame", "export", "from-particles"]) $(id).disabled = !ready;
    $("play").disabled = !ready && length > 0;
    $("clear-path").disabled = !length;
  }
}
