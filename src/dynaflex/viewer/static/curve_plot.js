// Line plots as SVG: crisp text, and colours of the page's theme.
import { brief, roundStep } from "./colours.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [440, 250];
const EDGE = { left: 52, right: 14, top: 12, bottom: 40 };

/**
 * A figure with a title and curves.
 *
 * `curves`: [{label, kind, points: [[x, y]...], dashed}] with `kind` the class that gives the colour. `x`, `y`:
 * {label, limits, ticks} (ticks [[value, text]...] optional). `levels`: [{y, text}]; `band`: [x0, x1, text].
 */
export function curvePlot({ title, curves, x, y, levels = [], band = null }) {
  const figure = document.createElement("figure");
  figure.className = "curves";
  figure.appendChild(document.createElement("figcaption")).textContent = title;
  const svg = figure.appendChild(document.createElementNS(SVG, "svg"));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  const seen = curves.flatMap((curve) => curve.points).filter((point) => point.every(Number.isFinite));
  const [x0, x1] = x.limits ?? limits(seen.map((point) => point[0]), false);
  const [y0, y1] = y.limits ?? limits([...seen.map((point) => point[1]), ...levels.map((level) => level.y)], true);
  const across = (value) => EDGE.left + ((value - x0) / (x1 - x0)) * (WIDTH - EDGE.left - EDGE.right);
  const up = (value) => HEIGHT - EDGE.bottom - ((value - y0) / (y1 - y0)) * (HEIGHT - EDGE.top - EDGE.bottom);
  if (band) {
    const [left, right] = [across(Math.max(band[0], x0)), across(Math.min(band[1], x1))];
    add(svg, "rect", { x: left, y: EDGE.top, width: right - left, height: up(y0) - EDGE.top, class: "band" });
  }
  for (const [value, text] of y.ticks ?? ticks(y0, y1, 4)) {
    add(svg, "line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: up(value), y2: up(value), class: "grid" });
    add(svg, "text", { x: EDGE.left - 7, y: up(value) + 4, "text-anchor": "end" }, text);
  }
  for (const [value, text] of x.ticks ?? ticks(x0, x1, 6)) {
    add(svg, "text", { x: across(value), y: HEIGHT - EDGE.bottom + 17, "text-anchor": "middle" }, text);
  }
  add(svg, "text", { x: (EDGE.left + WIDTH - EDGE.right) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, x.label);
  for (const level of levels) {
    add(svg, "line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: up(level.y), y2: up(level.y), class: "level" });
    add(svg, "text", { x: EDGE.left + 5, y: up(level.y) - 5, class: "small" }, level.text);
  }
  for (const curve of curves) {
    const kept = curve.points.filter((point) => point.every(Number.isFinite));
    const points = kept.map(([a, b]) => `${across(a).toFixed(1)},${up(b).toFixed(1)}`).join(" ");
    add(svg, "polyline", { points, class: `curve ${curve.kind}${curve.dashed ? " dashed" : ""}` });
  }
  figure.appendChild(key(curves));
  return figure;
}

function key(curves) {
  const list = document.createElement("p");
  list.className = "key";
  for (const curve of curves.filter((each) => each.label)) {
    const entry = list.appendChild(document.createElement("span"));
    entry.className = `${curve.kind}${curve.dashed ? " dashed" : ""}`;
    entry.textContent = curve.label;
  }
  return list;
}

function add(svg, name, attributes, text = null) {
  const shape = svg.appendChild(document.createElementNS(SVG, name));
  for (const [attribute, value] of Object.entries(attributes)) shape.setAttribute(attribute, value);
  if (text !== null) shape.textContent = text;
}

/** Limits of values with a little room, and zero among them if it is near. */
function limits(values, room) {
  if (!values.length) return [0, 1];
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  if (!room) return [low, high];
  const margin = 0.06 * (high - low);
  return [low >= 0 && low < 0.4 * high ? 0 : low - margin, high + margin];
}

function ticks(low, high, about) {
  const step = roundStep(((high - low) / about) * 1.5);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) {
    found.push([value, brief(Math.abs(value) < 1e-9 * step ? 0 : value)]);
  }
  return found;
}
