// Curves whose values are read off under the pointer, and that can be zoomed: uPlot's, in the colours of the page.
import { brief, themed } from "./colours.js";

const HEIGHT = 230;
const COLOURS = { rigid: "--rigid", deformed: "--half1", half0: "--all", half1: "--half1", half2: "--half2" };
const FONT = "12px system-ui, sans-serif";

export class CurvePlot {
  #plot = null;
  #kinds = "";
  #zoomed = false;

  /**
   * A figure with a title, and perhaps a note below it. `x` is {label, unit, ticks(low, high), words(value)}, all but the
   * label optional; `y` {limits}; `levels` [{y, text}]; `band` [x0, x1] or null; plots of one `group` share their pointer.
   */
  constructor({ title, note = "", x, y = {}, levels = [], band = null, group = null }) {
    Object.assign(this, { x, y, levels, band, group });
    this.element = document.createElement("figure");
    this.element.className = "curves";
    this.element.title = "Drag to zoom, double-click to see all; a click on a name in the legend hides its curve";
    this.element.appendChild(document.createElement("figcaption")).textContent = title;
    if (note) this.element.appendChild(document.createElement("p")).textContent = note;
    new ResizeObserver(() => this.#fit()).observe(this.element);
  }

  /** Show curves [{label, kind, points: [[x, y]...], dashed}]; what was zoomed in on stays so. */
  show(curves) {
    const data = aligned(curves);
    const kinds = JSON.stringify(curves.map(({ label, kind, dashed }) => [label, kind, dashed]));
    if (kinds === this.#kinds) {
      this.#plot.setData(data, !this.#zoomed);
      if (this.#zoomed) this.#plot.redraw();
      return;
    }
    this.#kinds = kinds;
    this.#plot?.destroy();
    this.#plot = new globalThis.uPlot(this.#options(curves), data, this.element);
    this.#fit();
  }

  /** Draw again, in the colours that the page has now. */
  paint() {
    this.#plot?.redraw(false);
  }

  get data() {
    return this.#plot.data;
  }

  get seen() {
    return [this.#plot.scales.x.min, this.#plot.scales.x.max];
  }

  #fit() {
    const width = this.element.clientWidth - 20;
    if (this.#plot && width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #options(curves) {
    const { x, y, group } = this;
    const { words = brief, unit = "" } = x;
    const axis = { stroke: () => themed("--quiet"), font: FONT, labelFont: FONT };
    return {
      width: Math.max(this.element.clientWidth - 20, 100), height: HEIGHT,
      cursor: { drag: { x: true, y: false }, sync: group ? { key: group, setSeries: false } : {} },
      scales: {
        x: { time: false, range: (_, low, high) => (low === high ? [low - 0.5, high + 0.5] : [low, high]) },
        y: { range: (_, low, high) => y.limits ?? roomy([low, high, ...this.levels.map((level) => level.y)]) },
      },
      axes: [
        {
          ...axis, label: unit ? `${x.label}, ${unit}` : x.label, labelSize: 18, size: 30, grid: { show: false }, ticks: { stroke: () => themed("--line") },
          splits: x.ticks && ((_, __, low, high) => x.ticks(low, high)), values: (_, splits) => splits.map(words),
        },
        {
          ...axis, size: 56, grid: { stroke: () => themed("--line"), width: 1 }, ticks: { show: false },
          values: (_, splits) => splits.map((value) => brief(Math.abs(value) < 1e-9 ? 0 : value)),
        },
      ],
      series: [
        { label: x.label, value: (_, value) => (value === null ? "–" : `${words(value)}${unit && ` ${unit}`}`) },
        ...curves.map(({ label, kind, dashed }) => ({
          label, stroke: () => themed(COLOURS[kind]), width: 2, dash: dashed ? [6, 4] : undefined, spanGaps: true,
          points: { show: curves[0].points.length === 1 }, value: (_, value) => (value === null ? "–" : brief(value)),
        })),
      ],
      hooks: {
        drawClear: [(plot) => this.#drawBehind(plot)],
        setSelect: [(plot) => { this.#zoomed = plot.select.width > 0; }],
        ready: [(plot) => plot.over.addEventListener("dblclick", () => { this.#zoomed = false; })],
      },
    };
  }

  /** The band, and the levels with their names. */
  #drawBehind(plot) {
    const { ctx: pen } = plot;
    const { left, top, width, height } = plot.bbox;
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    if (this.band) {
      const [x0, x1] = this.band.map((value) => plot.valToPos(value, "x", true));
      pen.globalAlpha = 0.14;
      pen.fillStyle = themed("--quiet");
      pen.fillRect(x0, top, x1 - x0, height);
      pen.globalAlpha = 1;
    }
    pen.strokeStyle = pen.fillStyle = themed("--quiet");
    pen.setLineDash([4, 4]);
    pen.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    pen.textAlign = "left";
    for (const { y, text } of this.levels) {
      const at = plot.valToPos(y, "y", true);
      pen.beginPath();
      pen.moveTo(left, at);
      pen.lineTo(left + width, at);
      pen.stroke();
      pen.fillText(text, left + 5, at - 5);
    }
    pen.restore();
  }
}

/** Curves on one list of places, as uPlot has them; null where a curve has no value. */
function aligned(curves) {
  const places = [...new Set(curves.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const at = new Map(places.map((x, i) => [x, i]));
  return [places, ...curves.map(({ points }) => {
    const values = Array(places.length).fill(null);
    for (const [x, y] of points) if (Number.isFinite(y)) values[at.get(x)] = y;
    return values;
  })];
}

/** Limits of values with a little room, and zero among them if it is near. */
function roomy(values) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return [0, 1];
  let [low, high] = [Math.min(...known), Math.max(...known)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const margin = 0.06 * (high - low);
  return [low >= 0 && low < 0.4 * high ? 0 : low - margin, high + margin];
}
