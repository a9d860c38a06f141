// A path through latent space: its nodes, the conformations along it, playback and export.
import { chimeraxFiles } from "./chimerax.js";
import { gif } from "./gif.js";
import { getBinary } from "./message.js";
import { zip } from "./zip.js";

const RATE = 12;

/** Events: "nodes", "frame" {index, count}, "state". */
export class Movie extends EventTarget {
  nodes = [];
  frames = 24;
  index = 0;
  playing = false;
  #volumes = [];
  #generation = 0;

  constructor(view) {
    super();
    this.view = view;
  }

  /** Latents of another half, or of another path. */
  reset(nodes, half) {
    this.stop();
    this.#generation += 1;
    [this.nodes, this.half, this.#volumes, this.index] = [nodes, half, [], 0];
    this.dispatchEvent(new Event("nodes"));
  }

  add(latents, half) {
    this.reset(half === this.half ? [...this.nodes, latents] : [latents], half);
  }

  setFrames(frames) {
    this.frames = Math.min(Math.max(Math.round(frames) || 2, 2), 200);
    this.reset(this.nodes, this.half);
  }

  get ready() {
    return this.nodes.length > 1;
  }

  /** Latents of a frame: the nodes are equally long apart in latent space as on the path. */
  latents(index) {
    const lengths = this.nodes.slice(1).map((node, i) => Math.hypot(...node.map((c, k) => c - this.nodes[i][k])) || 1e-9);
    let place = (index / (this.frames - 1)) * lengths.reduce((sum, length) => sum + length, 0);
    let i = 0;
    while (i < lengths.length - 1 && place > lengths[i]) place -= lengths[i++];
    const t = Math.min(place / lengths[i], 1);
    return this.nodes[i].map((c, k) => c * (1 - t) + this.nodes[i + 1][k] * t);
  }

  /** Show a frame, fetching it if need be; false if the path changed meanwhile. */
  async show(index) {
    const generation = this.#generation;
    const volume = await this.#volume(index);
    if (generation !== this.#generation) return false;
    this.index = index;
    await this.view.show(volume);
    this.dispatchEvent(new CustomEvent("frame", { detail: { index, z: this.latents(index) } }));
    return true;
  }

  /** Forth and back until stopped. */
  async play() {
    if (!this.ready || this.playing) return;
    this.playing = true;
    this.dispatchEvent(new Event("state"));
    let step = 1;
    while (this.playing) {
      const due = performance.now() + 1000 / RATE;
      if (!(await this.show(this.index))) break;
      if (this.index + step < 0 || this.index + step >= this.frames) step = -step;
      this.index += step;
      await new Promise((resolve) => { setTimeout(resolve, Math.max(due - performance.now(), 0)); });
    }
    this.stop();
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.dispatchEvent(new Event("state"));
  }

  /** The whole path as {name, blob}; `told` hears how far it is. */
  async exported(kind, told) {
    this.stop();
    const volumes = [];
    for (let i = 0; i < this.frames; i++) {
      told(`frame ${i + 1} of ${this.frames}`);
      volumes.push(await this.#volume(i));
    }
    if (kind === "chimerax") return { name: "motion_chimerax.zip", blob: zip(chimeraxFiles(volumes, this.view.level)) };
    const pictures = [];
    for (let i = 0; i < this.frames; i++) {
      told(`picture ${i + 1} of ${this.frames}`);
      await this.show(i);
      pictures.push(this.view.picture());
    }
    if (kind === "frames") return { name: "motion_frames.zip", blob: zip(await pngs(pictures)) };
    told("packing the GIF");
    const data = pictures.map((picture) => picture.getContext("2d").getImageData(0, 0, picture.width, picture.height));
    const there = data.length > 2 ? data.slice(1, -1).reverse() : [];
    return { name: "motion.gif", blob: gif([...data, ...there], Math.round(100 / RATE)) };
  }

  async #volume(index) {
    const z = this.latents(index).map((value) => value.toPrecision(7)).join(",");
    this.#volumes[index] ??= await getBinary(`api/conformation?half=${this.half}&size=fine&z=${z}`);
    return this.#volumes[index];
  }
}

async function pngs(pictures) {
  return Promise.all(pictures.map(async (picture, i) => {
    const blob = await new Promise((resolve) => { picture.toBlob(resolve, "image/png"); });
    return { name: `frame_${String(i).padStart(3, "0")}.png`, bytes: new Uint8Array(await blob.arrayBuffer()) };
  }));
}

/** Hand a file to the user. */
export function download({ name, blob }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
