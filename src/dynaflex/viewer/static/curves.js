// The panel of curves: verdicts, resolution, and training while it goes on.
import { CurvePlot } from "./curve_plot.js";
import { getJson } from "./message.js";

const $ = (id) => document.getElementById(id);
const EPOCHS_LOOKED_AT = 6;
const shared = (limit) => `Shaded, down to ${limit} Å: the halves had a common start, agreement there proves nothing.`;
const PANELS = [
  { title: "Log-likelihood", keys: ["log_likelihood", "held_out_log_likelihood"], unit: "nats a particle" },
  {
    title: "Data loss", keys: ["data_loss", "held_out_loss"], unit: "nats a particle", unless: "log_likelihood",
    note: "Counted in units of the noise, which is learned meanwhile: that it rises is no divergence.",
  },
  { title: "Gain by motion, held out", keys: ["gain"], unit: "nats a particle", level: 0 },
  { title: "Displacement, rms", keys: ["rms_displacement"], unit: "Å" },
  { title: "Term that keeps the molecule together", keys: ["geometry"], unit: "" },
  { title: "Weight of that term, λ", keys: ["lambda"], unit: "" },
  { title: "Band limit of the map", keys: ["band"], unit: "Fourier shell" },
  { title: "Latent coordinate, rms", keys: ["latent_spread"], unit: "standard deviations" },
];

export class Curves {
  /** The figures that are shown, by title. */
  plots = new Map();
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
    const figures = [["whole", "the whole map"], ["moving_part", "the part that moves most"]]
      .filter(([part]) => curves[part].deformed)
      .map(([part, title]) => this.#correlations(title, curves[part], curves.claim_limit));
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
    const { working, found } = this.state;
    if (!working) return "";
    if (found) return "trained; a command is at work on it";
    return this.#lines.length ? `training ${this.#place()}${this.#left()}` : "at work";
  }

  /** What is to be done about a run that stopped before its end; empty if it did not. */
  stopped() {
    const { resumed, found } = this.state;
    if (!resumed) return "";
    const where = found ? "trained, without maps" : this.#lines.length ? this.#place() : "before its first epoch ended";
    return `This run stopped: ${where}. It goes on with: ${resumed}`;
  }

  /** The half and the epoch that was finished last. */
  #place() {
    const { half, epoch } = this.#lines.at(-1);
    const { epochs } = this.state;
    return `${half ? `half ${half}` : "both halves"}, epoch ${epoch}${epochs ? ` of ${epochs}` : ""}`;
  }

  /** How long the training takes from here, by the epochs before. */
  #left() {
    const { half, epoch } = this.#lines.at(-1);
    const { epochs } = this.state;
    const seconds = this.#lines.slice(-EPOCHS_LOOKED_AT).map((line) => line.seconds).filter(Number.isFinite);
    if (!epochs || !seconds.length) return "";
    const others = half === 1 ? epochs : 0;
    const left = (seconds.reduce((sum, one) => sum + one, 0) / seconds.length) * (Math.max(epochs - epoch, 0) + others);
    return `, about ${duration(left)} left`;
  }

  /** Draw again, in the colours that the page has now. */
  paint() {
    for (const plot of this.plots.values()) plot.paint();
  }

  #draw() {
    const lines = this.#lines.map((line) => ({
      ...line, gain: line.held_out_gain ?? line.held_out_rigid_loss - line.held_out_loss,
    }));
    const halves = [...new Set(lines.map((line) => line.half))].sort();
    // In the first epoch noise still counts as white, which sets a scale of its own.
    const from = lines.some((line) => line.epoch > 2) ? 2 : 1;
    const figures = PANELS.filter(({ unless }) => !lines.some((line) => Number.isFinite(line[unless]))).map((panel) => {
      const curves = panel.keys.flatMap((name, dashed) => halves.map((half) => ({
        label: `${half ? `half ${half}` : "all particles"}${dashed ? ", held out" : ""}`,
        kind: `half${half}`,
        dashed: Boolean(dashed),
        points: lines.filter((line) => line.half === half && line.epoch >= from && Number.isFinite(line[name]))
          .map((line) => [line.epoch, line[name]]),
      }))).filter((curve) => curve.points.length);
      return curves.length ? this.#epochs(panel, curves) : null;
    }).filter(Boolean);
    // Figures that stay where they are keep the pointer.
    const shown = $("training").children;
    if (figures.length !== shown.length || figures.some((figure, i) => figure !== shown[i])) $("training").replaceChildren(...figures);
  }

  /** A figure over the epochs, the one that is there already if it is. */
  #epochs({ title, unit, note, level }, curves) {
    const about = {
      title: unit ? `${title}, ${unit}` : title, note, x: { label: "epoch" }, group: "training",
      levels: level === undefined ? [] : [{ y: level, text: "" }],
    };
    return this.#shown(about, curves);
  }

  #correlations(title, curves, claimLimit) {
    const named = [["rigid", "rigid"], ["deformed", "corrected for the motion"]].filter(([name]) => curves[name]);
    const last = curves.deformed.frequency.at(-1);
    const about = {
      title: `FSC, ${title}`, group: "resolution", note: claimLimit ? shared(claimLimit) : "",
      x: {
        label: "resolution", unit: "Å", words: (frequency) => (frequency > 0 ? (1 / frequency).toFixed(1) : "∞"),
        ticks: (low, high) => [0.2, 0.4, 0.6, 0.8, 1].map((share) => (low > 0 || high < last ? low + share * (high - low) : share * last)),
      },
      y: { limits: [-0.1, 1.05] }, levels: [{ y: 0.143, text: "0.143" }], band: claimLimit ? [0, 1 / claimLimit] : null,
    };
    return this.#shown(about, named.map(([name, label]) => {
      const resolution = curves[name].resolution?.["0.143"];
      return {
        label: resolution ? `${label}, ${resolution.toFixed(2)} Å` : `${label}, no resolution claimed`,
        kind: name,
        points: curves[name].frequency.map((frequency, i) => [frequency, curves[name].fsc[i]]),
      };
    }));
  }

  #shown(about, curves) {
    if (!this.plots.has(about.title)) this.plots.set(about.title, new CurvePlot(about));
    const plot = this.plots.get(about.title);
    plot.show(curves);
    return plot.element;
  }
}

function duration(seconds) {
  if (seconds < 100) return `${Math.ceil(seconds / 10) * 10} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function empty(text) {
  const line = document.createElement("p");
  line.className = "empty";
  line.textContent = text;
  return line;
}
