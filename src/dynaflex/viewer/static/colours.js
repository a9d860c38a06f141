// Colours: scales whose lightness runs one way, classes that colour-blind readers can tell apart, and their legends.

const STOPS = {
  scale: ["#4a55b8", "#2f86b8", "#35a38f", "#93bd4f", "#e3c229"],
  motion: ["#b9c0c8", "#e3a33f", "#c4421e"],
  resolution: ["#3a62c4", "#62b3c6", "#e6dfb4", "#dd7f3c"],
  doubt: ["#b9c0c8", "#6f9bd8", "#3a56c4"],
};
/** The scale of each quantity that surfaces are coloured by. */
export const SCALES = {
  displacement: "motion", rms_displacement: "motion", deformation_error: "doubt", local_resolution: "resolution",
};
const CLASSES = [
  "#2f7fc1", "#d07b1f", "#3f9d6b", "#b2579b", "#8a7b2f", "#c8502d", "#4fb3c9", "#7a68c4", "#a05a3c", "#6f8f2f",
  "#d46a86", "#5b6673",
];
export const UNKNOWN = [138, 146, 156];

/** The 256 colours of a scale as RGBA bytes. */
export function table(name) {
  const stops = STOPS[name].map(rgb);
  const colours = new Uint8Array(1024);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(place));
    for (let c = 0; c < 3; c++) {
      colours[4 * i + c] = Math.round(stops[k][c] * (1 - place + k) + stops[k + 1][c] * (place - k));
    }
    colours[4 * i + 3] = 255;
  }
  return colours;
}

/** The colour of class i as red, green, blue: after the twelve come lighter ones, darker ones, and the twelve again. */
export function classColour(i) {
  const [towards, share] = [[0, 0], [255, 0.45], [0, 0.4]][Math.floor(i / CLASSES.length) % 3];
  return rgb(CLASSES[i % CLASSES.length]).map((value) => Math.round(value + share * (towards - value)));
}

/** Classes as a table: the colour of class i stands at i, and at 255 that of particles in none. */
export function classTable() {
  const colours = new Uint8Array(1024);
  for (let i = 0; i < 255; i++) colours.set([...classColour(i), 255], 4 * i);
  colours.set([...UNKNOWN, 255], 4 * 255);
  return colours;
}

/** Colours, as three bytes, of values between two limits; a function. */
export function coloursBetween(colours, [low, high]) {
  return (value) => {
    const at = 4 * Math.round(Math.min(Math.max((value - low) / (high - low || 1), 0), 1) * 255);
    return colours.subarray(at, at + 3);
  };
}

/** The colour of node i of so many along a path, as CSS has it. */
export function nodeColour(i, count) {
  const at = 4 * Math.round((255 * i) / Math.max(count - 1, 1));
  return `rgb(${table("scale").subarray(at, at + 3).join(", ")})`;
}

/** A CSS gradient of a scale, from left to right. */
export function gradient(name, direction = "to right") {
  return `linear-gradient(${direction}, ${STOPS[name].join(", ")})`;
}

export function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

/** A colour of the page's theme. */
export function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A number with three significant digits, and no more than it needs. */
export function brief(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size < 1e-6) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace("-", "−");
  return String(Number(size >= 100 ? value.toFixed(0) : value.toPrecision(3))).replace("-", "−");
}

/** A value with its unit; of a length nothing below a hundredth of an Å, which no motion is known to. */
export function quantity(value, unit) {
  return `${brief(unit === "Å" ? Math.round(100 * value) / 100 : value)}${unit && ` ${unit}`}`;
}

/** The largest of 1, 2, 5 times a power of ten that does not exceed a value. */
export function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [5, 2, 1].find((step) => step * power <= value * (1 + 1e-9)) * power;
}

/** Codes 0 ... 254 of values between two limits, 255 where there is none; and a table whose last colour means that. */
export function coded(values, [low, high], table) {
  const codes = new Uint8Array(values.length);
  const scale = 254 / (high - low || 1);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    codes[i] = value === value ? Math.min(Math.max(Math.round((value - low) * scale), 0), 254) : 255;
  }
  const shown = table.slice();
  shown.set([...UNKNOWN, 255], 4 * 255);
  return [codes, shown];
}
