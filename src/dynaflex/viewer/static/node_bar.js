// Whether a path shows what the particles show: maps of those around its nodes, beside the carried ones.
import { getBinary, getJson, post } from "./message.js";
import { asText } from "./particles.js";

const $ = (id) => document.getElementById(id);
const NODES = 9;
const OFTEN = 700;
const PAUSE = 450;
const NOTHING = new Uint8Array();

export class NodeBar {
  /** What the server says of each node, and of the whole work. */
  told = { nodes: [], working: false };
  node = 0;
  #playing = false;
  #round = 0;
  #maps = [];

  /** `show` opens the panel of maps. */
  constructor(path, maps, show, fail) {
    Object.assign(this, { path, maps, show, fail });
    const tried = (work) => () => Promise.resolve(work()).catch(fail);
    $("from-particles").addEventListener("click", tried(() => (this.told.working ? this.#stop() : this.#begin())));
    $("node").addEventListener("input", tried(() => {
      this.#playing = false;
      return this.#at(Number($("node").value));
    }));
    $("play-nodes").addEventListener("click", tried(() => this.#toggle()));
  }

  /** Places that are equal steps apart along the path. */
  async #begin() {
    const { movie } = this.path;
    const last = movie.frames - 1;
    this.half = movie.half;
    this.z = Array.from({ length: NODES }, (_, i) => movie.latents((i * last) / (NODES - 1)));
    this.#playing = false;
    this.told = await post("api/path_maps", { half: this.half, z: this.z.map(asText).join(";") }, NOTHING);
    await this.#follow();
  }

  async #stop() {
    this.stopped = true;
    this.told = await post("api/path_maps", { half: this.half, z: "" }, NOTHING);
  }

  /** Until all maps are there, say how far they are; then show them. */
  async #follow() {
    this.stopped = false;
    $("from-particles").textContent = "Stop";
    while (this.told.working) {
      $("saved").textContent = `${this.told.task}: ${Math.round(100 * this.told.share)} %`;
      await new Promise((resolve) => { setTimeout(resolve, OFTEN); });
      this.told = await getJson("api/path_maps");
    }
    $("from-particles").textContent = "From particles";
    $("saved").textContent = "";
    if (this.told.error) throw new Error(this.told.error);
    if (!this.stopped) await this.#show();
  }

  async #show() {
    this.seen = this.told.nodes.map((_, i) => i).filter((i) => !this.told.nodes[i].lack);
    const missing = this.told.nodes.filter(({ lack }) => lack);
    if (missing.length) $("saved").textContent = `${missing.length} of ${NODES} nodes have no map: ${missing[0].lack}`;
    if (!this.seen.length) return;
    Object.assign($("node"), { max: this.seen.length - 1, value: 0 });
    this.#maps = [];
    this.node = this.seen[0];
    $("nodes").hidden = false;
    this.maps.compare({
      left: { label: "path, carried", about: () => this.#carriedWords(), ask: () => this.#map(0) },
      right: { label: "path, from particles", about: () => this.#particlesWords(), ask: () => this.#map(1) },
    });
    await this.show();
    await this.maps.load();
    await this.#toggle();
  }

  async #at(index) {
    this.node = this.seen[index];
    $("node").value = index;
    await this.maps.load();
  }

  /** Forth and back, while it is seen. */
  async #toggle() {
    this.#playing = !this.#playing;
    this.#round += 1;
    const own = this.#round;
    $("play-nodes").textContent = this.#playing ? "■ Stop" : "▶ Play nodes";
    let [index, step] = [Number($("node").value), 1];
    while (this.#playing && own === this.#round && this.seen.length > 1 && $("nodes").checkVisibility()) {
      if (index + step < 0 || index + step >= this.seen.length) step = -step;
      index += step;
      await this.#at(index);
      await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
    }
    if (own !== this.#round) return;
    this.#playing = false;
    $("play-nodes").textContent = "▶ Play nodes";
  }

  /** The map of this node that was carried (0), or that of its particles (1). */
  #map(which) {
    const z = this.z[this.node].join(",");
    this.#maps[this.node] ??= [
      getBinary(`api/conformation?half=${this.half}&size=fine&colour=none&z=${z}`),
      getBinary(`api/path_map/${this.node}`),
    ];
    return this.#maps[this.node][which];
  }

  #carriedWords() {
    const { carried_correlation: carried, rest_correlation: rest } = this.told.nodes[this.node];
    const compared = carried === null ? "" : `: correlation ${carried.toFixed(2)} with the particles, at rest ${rest.toFixed(2)}`;
    return `node ${this.node + 1} of ${NODES}, carried${compared}`;
  }

  #particlesWords() {
    const node = this.told.nodes[this.node];
    const away = Math.max(node.distance_half1_A, node.distance_half2_A).toFixed(1);
    const fsc = node.resolution_A === null ? "their halves do not agree" : `${node.resolution_A.toFixed(1)} Å at FSC 0.143`;
    return `from ${node.particles_half1} + ${node.particles_half2} particles, ${away} Å away: ${fsc}`;
  }
}
