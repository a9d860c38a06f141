// A path through latent space: its nodes, the conformations along it, playback and export.
import { layer } from "./bodies.js";
import { chimeraxFiles } from "./chimerax.js";
import { getBinary, post } from "./message.js";
import { animation, video } from "./video.js";
import { zip } from "./zip.js";

const ONE_WAY = 3;
const [SLOWEST, FASTEST] = [6, 30];

/** Events: "nodes", "frame" {index, message, node, share}, "state", and "met" with a message before it is shown. */
export class Movie extends EventTarget {
  nodes = [];
  frames = 24;
  index = 0;
  playing = false;
  #volumes = [];
  #asked = "";
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

  setFrames(frames) {
    this.frames = Math.min(Math.max(Math.round(frames) || 2, 2), 200);
    this.reset(this.nodes, this.half);
  }

  /** Frames a second: one way takes three seconds, unless that is jerky or too fast to be seen. */
  get rate() {
    return Math.min(Math.max(Math.round(this.frames / ONE_WAY), SLOWEST), FASTEST);
  }

  get ready() {
    return this.nodes.length > 1;
  }

  /** Latents of a frame. */
  latents(index) {
    const { node, share } = this.where(index);
    return this.nodes[node].map((c, k) => c * (1 - share) + this.nodes[node + 1][k] * share);
  }

  /** The node behind which a frame lies, and which share of the way to the next: frames are equal steps in latent space. */
  where(index) {
    const lengths = this.nodes.slice(1).map((node, i) => Math.hypot(...node.map((c, k) => c - this.nodes[i][k])) || 1e-9);
    let place = (index / (this.frames - 1)) * lengths.reduce((sum, length) => sum + length, 0);
    let i = 0;
    while (i < lengths.length - 1 && place > lengths[i]) place -= lengths[i++];
    return { node: i, share: Math.min(place / lengths[i], 1) };
  }

  /** Show a frame, fetching it if need be; false if the path changed meanwhile. */
  async show(index) {
    const generation = this.#generation;
    const message = await this.#volume(index);
    if (generation !== this.#generation) return false;
    this.index = index;
    this.dispatchEvent(new CustomEvent("met", { detail: message }));
    await this.view.show(message);
    if (generation !== this.#generation) return false;
    this.dispatchEvent(new CustomEvent("frame", { detail: { index, message, ...this.where(index) } }));
    return true;
  }

  /** Forth and back until stopped, from a frame on. */
  async play(from = this.index) {
    if (!this.ready || this.playing) return;
    [this.playing, this.index] = [true, from];
    // A path that takes the place of one that plays can play before that has seen its end.
    const own = this.#generation;
    this.dispatchEvent(new Event("state"));
    let step = 1;
    while (this.playing && own === this.#generation) {
      const due = performance.now() + 1000 / this.rate;
      if (!(await this.show(this.index))) break;
      if (this.index + step < 0 || this.index + step >= this.frames) step = -step;
      this.index += step;
      await new Promise((resolve) => { setTimeout(resolve, Math.max(due - performance.now(), 0)); });
    }
    if (own === this.#generation) this.stop();
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.dispatchEvent(new Event("state"));
  }

  /** The whole path as {name, blob}, and how many of its frames are `alone`; `told` hears how far it is. */
  async exported(kind, told) {
    this.stop();
    const volumes = [];
    for (let i = 0; i < this.frames; i++) {
      told(`frame ${i + 1} of ${this.frames}`);
      volumes.push(await this.#volume(i));
    }
    return { ...await this.#packed(kind, volumes, told), alone: volumes.filter(({ near }) => near === 0).length };
  }

  async #packed(kind, volumes, told) {
    if (kind === "chimerax") return { name: "motion_chimerax.zip", blob: zip(chimeraxFiles(volumes, await this.#told(volumes))) };
    const pictures = [];
    for (let i = 0; i < this.frames; i++) {
      told(`picture ${i + 1} of ${this.frames}`);
      await this.show(i);
      pictures.push(this.view.picture());
    }
    if (kind === "frames") return { name: "motion_frames.zip", blob: zip([...await pngs(pictures), command(this.rate)]) };
    if (kind === "video") return video(forthAndBack(pictures), this.rate, told);
    told("packing the GIF");
    const data = pictures.map((picture) => picture.getContext("2d").getImageData(0, 0, picture.width, picture.height));
    return { name: "motion.gif", blob: animation(forthAndBack(data), this.rate) };
  }

  /** What the server says about volumes in an archive, as the view shows them. */
  async #told(volumes) {
    const { level, limits, drawnTimes } = this.view;
    const [{ colour }] = volumes;
    const every = (name) => volumes.every((volume) => layer(volume, name));
    return post("api/archive", {
      half: this.half, z: volumes.map(({ z }) => z.map((value) => value.toPrecision(9)).join(",")).join(";"), level, limits: limits.join(","),
      colour: every("colour") ? colour.id : "", times: every("arrows") ? drawnTimes : "",
    }, new Uint8Array());
  }

  async #volume(index) {
    const z = this.latents(index).map((value) => value.toPrecision(7)).join(",");
    if (this.#asked !== this.view.query) [this.#asked, this.#volumes] = [this.view.query, []];
    const volumes = this.#volumes;
    volumes[index] ??= await getBinary(`api/conformation?half=${this.half}&size=fine&z=${z}${this.#asked}`);
    return volumes[index];
  }
}

function forthAndBack(pictures) {
  return [...pictures, ...pictures.slice(1, -1).reverse()];
}

async function pngs(pictures) {
  return Promise.all(pictures.map(async (picture, i) => {
    const blob = await new Promise((resolve) => { picture.toBlob(resolve, "image/png"); });
    return { name: `frame_${String(i).padStart(3, "0")}.png`, bytes: new Uint8Array(await blob.arrayBuffer()) };
  }));
}

/** How to make a movie of the pictures, forth and back, where the browser cannot. */
function command(rate) {
  const filter = "[0]pad=ceil(iw/2)*2:ceil(ih/2)*2,split[there][end];[end]reverse,trim=start_frame=1,setpts=PTS-STARTPTS[back];[there][back]concat";
  const text = `To make an MP4 of these pictures, forth and back at ${rate} frames a second, unpack them and run there:

ffmpeg -framerate ${rate} -i frame_%03d.png -filter_complex "${filter}" -c:v libx264 -crf 18 -pix_fmt yuv420p -movflags +faststart motion.mp4
`;
  return { name: "make_mp4.txt", bytes: new TextEncoder().encode(text) };
}

/** Hand a file to the user. */
export function download({ name, blob }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
