// The row below the panels that draws paths, plays and exports them.
import { getBinary, getJson } from "./message.js";
import { download, Movie } from "./movie.js";

const $ = (id) => document.getElementById(id);

export class PathBar {
  constructor(explore) {
    this.explore = explore;
    this.movie = new Movie(explore.view);
    const dimension = explore.particles.about.latent_dim;
    $("axis").append(new Option("choose…", ""));
    for (let i = 0; i < dimension; i++) $("axis").append(new Option(`PC ${i + 1}`, i));
    const tried = (work) => (event) => Promise.resolve(work(event)).catch(explore.fail);
    $("axis").addEventListener("change", tried(() => this.along($("axis").value)));
    $("frames").addEventListener("change", () => this.movie.setFrames(Number($("frames").value)));
    $("play").addEventListener("click", tried(() => this.toggle()));
    $("frame").addEventListener("input", tried(() => {
      this.movie.stop();
      return this.movie.show(Number($("frame").value));
    }));
    $("export").addEventListener("change", tried(() => this.save()));
    $("clear-path").addEventListener("click", () => this.movie.reset([], null));
    this.movie.addEventListener("nodes", () => {
      this.refresh();
      explore.mark();
    });
    this.movie.addEventListener("state", () => this.refresh());
    this.movie.addEventListener("frame", ({ detail }) => {
      $("frame").value = detail.index;
      explore.moved(detail.z, this.movie.half);
    });
    this.refresh();
  }

  /** Add the conformation at a place of the plot. */
  async addAt(x, y) {
    const { explore } = this;
    const [left, top] = explore.plot.toPixels(x, y);
    const half = this.movie.half ?? await explore.particles.owner(explore.particles.half ? -1 : explore.plot.nearest(left, top, 1e4));
    const [a, b] = explore.axes;
    const message = await getBinary(`api/conformation?half=${half}&size=coarse&x=${a}&y=${b}&at=${x},${y}`);
    this.movie.add(message.z, half);
    await explore.showLatents(message.z, half);
  }

  /** A path from -2 to +2 standard deviations along a principal component. */
  async along(axis) {
    if (axis === "") return;
    const { particles } = this.explore;
    const half = particles.half || particles.about.halves[0];
    this.movie.reset(await getJson(`api/path?half=${half}&axis=${axis}&frames=9`), half);
    await this.movie.show(0);
  }

  async toggle() {
    if (this.movie.playing) this.movie.stop();
    else await this.movie.play();
  }

  async save() {
    const kind = $("export").value;
    $("export").value = "";
    if (!kind || !this.movie.ready) return;
    $("export").disabled = true;
    try {
      download(await this.movie.exported(kind, (text) => { $("saved").textContent = text; }));
      $("saved").textContent = "";
    } finally {
      this.refresh();
    }
  }

  refresh() {
    const { ready, playing, frames } = this.movie;
    $("play").textContent = playing ? "■ Stop" : "▶ Play";
    $("frame").max = frames - 1;
    for (const id of ["play", "frame", "export"]) $(id).disabled = !ready;
    $("clear-path").disabled = !this.movie.nodes.length;
    if (!this.movie.nodes.length) $("axis").value = "";
  }
}
