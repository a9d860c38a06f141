// The third panel: verdicts, resolution, and training while it goes on.
import { curvePlot } from "./curve_plot.js";
import { getJson } from "./message.js";

const $ = (id) => document.getElementById(id);
const PANELS = [
  { title: "Data loss; held out dashed", keys: ["data_loss", "held_out_loss"], unit: "nats a particle" },
  { title: "Gain over the rigid model on held-out particles", keys: ["gain"], unit: "nats a particle", level: 0 },
  { title: "Displacement, rms", keys: ["rms_displacement"], unit: "Å" },
  { title: "Term that keeps the molecule together", keys: ["geometry"], unit: "" },
  { title: "Weight of that term, λ", keys: ["lambda"], unit: "" },
  { title: "Band limit of the map", keys: ["band"], unit: "Fourier shell" },
  { title: "Latent coordinate, rms", keys: ["latent_spread"], unit: "standard deviations" },
];

export class Curves {
  #lines = [];
  #next = 0;

  constructor(run) {
    this.run = run;
  }

  /** Everything but the training, which {@link poll} follows. */
  async open() {
    const [curves, verdicts] = await Promise.all([getJson("api/curves"), getJson("api/verdicts")]);
    $("verdicts").replaceChildren(...verdicts.map(({ kind, text }) => {
      const line = document.createElement("p");
      line.className = kind;
      line.textContent = text;
      return line;
    }));
    const figures = [["whole", "The whole map"], ["moving_part", "The part that moves most"]]
      .filter(([part]) => curves[part].deformed)
      .map(([part, title]) => fscPlot(title, curves[part], curves.claim_limit));
    $("fsc").replaceChildren(...(figures.length ? figures : [empty("No half-maps have been compared yet.")]));
  }

  /** Read new epochs; true if there were any, with what the server says about the run in `state`. */
  async poll() {
    const found = await getJson(`api/progress?since=${this.#next}`);
    if (found.restarted) this.#lines = [];
    this.#lines.push(...found.lines);
    this.#next = found.next;
    this.state = found;
    if (found.lines.length) this.#draw();
    else if (!this.#lines.length) $("training").replaceChildren(empty("No epoch has been finished yet."));
    return found.lines.length > 0;
  }

  /** A few words on how far the run is. */
  words() {
    const last = this.#lines.at(-1);
    if (!this.state.working) return "";
    return last ? `at work: half ${last.half || "1 and 2"}, epoch ${last.epoch}` : "at work";
  }

  #draw() {
    const lines = this.#lines.map((line) => ({ ...line, gain: line.held_out_rigid_loss - line.held_out_loss }));
    const halves = [...new Set(lines.map((line) => line.half))].sort();
    // In the first epoch noise still counts as white, which sets a scale of its own.
    const from = lines.some((line) => line.epoch > 2) ? 2 : 1;
    const figures = PANELS.map(({ title, keys, unit, level }) => {
      const curves = keys.flatMap((name, dashed) => halves.map((half) => ({
        label: dashed ? "" : half ? `half ${half}` : "all particles",
        kind: `half${half}`,
        dashed: Boolean(dashed),
        points: lines.filter((line) => line.half === half && line.epoch >= from && Number.isFinite(line[name]))
          .map((line) => [line.epoch, line[name]]),
      }))).filter((curve) => curve.points.length);
      const levels = level === undefined ? [] : [{ y: level, text: "" }];
      return curves.length ? curvePlot({ title: unit ? `${title}, ${unit}` : title, curves, levels, x: { label: "epoch" }, y: {} }) : null;
    });
    $("training").replaceChildren(...figures.filter(Boolean));
  }
}

function fscPlot(title, curves, claimLimit) {
  const named = [["rigid", "rigid"], ["deformed", "corrected for the motion"]].filter(([name]) => curves[name]);
  const frequencies = curves.deformed.frequency;
  const last = frequencies.at(-1);
  const ticks = [0.2, 0.4, 0.6, 0.8, 1].map((share) => [share * last, (1 / (share * last)).toFixed(1)]);
  return curvePlot({
    title,
    curves: named.map(([name, label]) => {
      const resolution = curves[name].resolution?.["0.143"];
      return {
        label: resolution ? `${label}, ${resolution.toFixed(2)} Å` : `${label}, no resolution claimed`,
        kind: name,
        points: curves[name].frequency.map((frequency, i) => [frequency, curves[name].fsc[i]]),
      };
    }),
    x: { label: "resolution, Å", limits: [0, last], ticks },
    y: { limits: [-0.1, 1.05], ticks: [[0, "0"], [0.5, "0.5"], [1, "1"]] },
    levels: [{ y: 0.143, text: "0.143" }],
    band: claimLimit ? [0, 1 / claimLimit] : null,
  });
}

function empty(text) {
  const line = document.createElement("p");
  line.className = "empty";
  line.textContent = text;
  return line;
}
