// The panel of particle images: raw ones beside what the model makes of them, and class averages.
import { brief } from "./colours.js";
import { getBinary, getJson, postForBinary } from "./message.js";
import { Newest } from "./newest.js";
import { bits } from "./selection_bar.js";

const $ = (id) => document.getElementById(id);
const PAGE = 24;

export class Gallery {
  /** The first particle of the page that is shown. */
  first = 0;
  shown = 0;
  #rows = [];
  #loading = new Newest(() => this.#load());

  /** `leave` shows the first panel again. */
  constructor(explore, leave, fail) {
    Object.assign(this, { explore, leave, fail });
    for (const id of ["gallery-of", "gallery-as"]) $(id).addEventListener("change", () => this.#begin());
    $("low-pass").addEventListener("input", () => this.#show());
    $("page-back").addEventListener("click", () => this.#turn(-PAGE));
    $("page-on").addEventListener("click", () => this.#turn(PAGE));
  }

  /** Show the panel: the particles that are selected, or else those near the conformation. */
  async open() {
    if (!this.resolution) await this.#suit();
    const selected = Boolean(this.explore.selection.mask);
    $("gallery-of").options[0].disabled = !selected;
    $("gallery-of").value = selected ? "selection" : "near";
    await this.#begin();
  }

  /** The resolution at which images are shown first: where the half-maps agree to 0.5. */
  async #suit() {
    const { whole } = await getJson("api/curves");
    this.resolution = whole.deformed?.resolution?.["0.5"] ?? 20;
    $("low-pass").value = Math.log2(this.resolution);
  }

  #begin() {
    this.first = 0;
    return this.#show();
  }

  #turn(by) {
    this.first = Math.max(0, Math.min(this.first + by, this.#rows.length - 1));
    return this.#show();
  }

  #show() {
    this.resolution = 2 ** Number($("low-pass").value);
    $("low-pass-value").textContent = `${brief(this.resolution)} Å`;
    return this.#loading.ask();
  }

  async #load() {
    try {
      if ($("gallery-as").value === "averages") await this.#averages();
      else await this.#images();
      this.shown += 1;
    } catch (error) {
      $("gallery").replaceChildren(Object.assign(document.createElement("p"), { className: "empty", textContent: error.message }));
      this.#tell("");
    }
  }

  /** The rows in the input table of the particles to show, and how these are called. */
  async #chosen() {
    const { explore } = this;
    if ($("gallery-of").value === "selection") {
      const rows = await explore.particles.values("row");
      return [...explore.selection.mask].flatMap((one, i) => (one ? [rows[i]] : []));
    }
    if (!explore.z) return [];
    return getJson(`api/nearest?half=${explore.half}&z=${explore.z.join(",")}`);
  }

  async #images() {
    this.#rows = await this.#chosen();
    const rows = this.#rows.slice(this.first, this.first + PAGE);
    if (!rows.length) throw new Error("There are no particles to show: select some in the panel Explore, or show a conformation there.");
    const message = await getBinary(`api/images?rows=${rows.join(",")}&resolution=${this.resolution.toPrecision(4)}`);
    const [{ shape: [, side] }] = message.arrays;
    const [images, projections] = message.data;
    $("gallery").replaceChildren(...rows.map((row, i) => {
      const words = `row ${row} · half ${message.half[i]} · cc ${message.agreement[i].toFixed(2)}`;
      const figure = entry([images, projections].map((all) => picture(all, i, side)), words);
      figure.title = "Its image, what the model expects to see, and the correlation cc of the two; a click shows its conformation";
      figure.addEventListener("click", () => this.#visit(message.z[i], message.half[i]).catch(this.fail));
      return figure;
    }));
    const last = this.first + rows.length;
    const of = $("gallery-of").value === "near" ? "nearest to the conformation" : "selected";
    this.#tell(`${this.first + 1}–${last} of ${this.#rows.length.toLocaleString("en")} ${of}`);
  }

  async #averages() {
    const { particles, selection } = this.explore;
    let mask = $("gallery-of").value === "selection" ? selection.mask : null;
    if (!mask) {
      const near = new Set(await this.#chosen());
      mask = Uint8Array.from(await particles.values("row"), (row) => (near.has(row) ? 1 : 0));
    }
    const message = await postForBinary("api/averages", { resolution: this.resolution.toPrecision(4) }, bits(mask));
    const [{ shape: [, side] }] = message.arrays;
    $("gallery").replaceChildren(...message.counts.map((count, i) => {
      const figure = entry([picture(message.data[0], i, side)], `${count.toLocaleString("en")} images`);
      figure.title = "Images seen from one side, aligned by their poses and averaged, with their CTF corrected";
      return figure;
    }));
    this.#rows = [];
    const some = message.used < message.total ? `${message.used.toLocaleString("en")} of ` : "";
    this.#tell(`class averages of ${some}${message.total.toLocaleString("en")} particles, by viewing direction`);
  }

  async #visit(z, half) {
    this.explore.path.movie.stop();
    await this.leave();
    await this.explore.showLatents(z, half);
  }

  #tell(text) {
    $("page-words").textContent = text;
    for (const id of ["page-back", "page-on"]) $(id).hidden = !this.#rows.length;
    $("page-back").disabled = !this.first;
    $("page-on").disabled = this.first + PAGE >= this.#rows.length;
  }
}

/** Image number i of many, in grey. */
function picture(all, i, side) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let k = 0; k < pixels.length; k++) {
    const shade = all[i * pixels.length + k];
    pixels[k] = 0xff000000 | shade << 16 | shade << 8 | shade;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

function entry(pictures, words) {
  const figure = document.createElement("figure");
  figure.append(...pictures, Object.assign(document.createElement("figcaption"), { textContent: words }));
  figure.style.setProperty("--pictures", pictures.length);
  return figure;
}
