// Animated GIFs: 255 colours chosen from all frames, and LZW.

/** A GIF that repeats for ever, as a Blob. `frames` are ImageData of one size, `delay` is in hundredths of a second. */
export function gif(frames, delay) {
  const { width, height } = frames[0];
  const { palette, nearest } = quantiser(frames);
  const parts = [
    ascii("GIF89a"), word(width), word(height), Uint8Array.of(0xf7, 0, 0), palette,
    Uint8Array.of(0x21, 0xff, 11), ascii("NETSCAPE2.0"), Uint8Array.of(3, 1, 0, 0, 0),
  ];
  for (const frame of frames) {
    parts.push(Uint8Array.of(0x21, 0xf9, 4, 4), word(delay), Uint8Array.of(0, 0));
    parts.push(Uint8Array.of(0x2c, 0, 0, 0, 0), word(width), word(height), Uint8Array.of(0));
    parts.push(compressed(indexed(frame, nearest)));
  }
  parts.push(Uint8Array.of(0x3b));
  return new Blob(parts, { type: "image/gif" });
}

const ascii = (text) => new TextEncoder().encode(text);
const word = (value) => Uint8Array.of(value & 255, value >> 8);
const cellOf = (data, at) => data[at] >> 3 << 10 | data[at + 1] >> 3 << 5 | data[at + 2] >> 3;

/** Median cut over colours of five bits a channel: 256 colours, and the nearest of them for each. */
function quantiser(frames) {
  const counts = new Uint32Array(32768);
  for (const { data } of frames) for (let at = 0; at < data.length; at += 4) counts[cellOf(data, at)] += 1;
  const cells = [];
  for (let cell = 0; cell < counts.length; cell++) {
    if (counts[cell]) cells.push({ cell, count: counts[cell], rgb: [cell >> 10, cell >> 5 & 31, cell & 31] });
  }
  const boxes = [cells];
  while (boxes.length < 256) {
    const widest = boxes.map(spread).reduce((best, each, i) => (each.worth > best.worth ? { ...each, i } : best), { worth: 0 });
    if (!widest.worth) break;
    const box = boxes[widest.i].sort((a, b) => a.rgb[widest.axis] - b.rgb[widest.axis]);
    const half = box.reduce((sum, { count }) => sum + count, 0) / 2;
    let [at, sum] = [0, 0];
    while (at < box.length - 1 && sum + box[at].count <= half) sum += box[at++].count;
    at = Math.max(at, 1);
    boxes[widest.i] = box.slice(0, at);
    boxes.push(box.slice(at));
  }
  const palette = new Uint8Array(768);
  const nearest = new Uint8Array(32768);
  boxes.forEach((box, i) => {
    const total = box.reduce((sum, { count }) => sum + count, 0) || 1;
    for (let c = 0; c < 3; c++) {
      const mean = box.reduce((sum, { count, rgb }) => sum + count * rgb[c], 0) / total;
      palette[3 * i + c] = Math.round((mean * 255) / 31);
    }
    for (const { cell } of box) nearest[cell] = i;
  });
  return { palette, nearest };
}

/** How much a box of colours gains by being cut, and along which channel. */
function spread(box) {
  if (box.length < 2) return { worth: 0 };
  const total = box.reduce((sum, { count }) => sum + count, 0);
  const ranges = [0, 1, 2].map((c) => {
    const values = box.map(({ rgb }) => rgb[c]);
    return Math.max(...values) - Math.min(...values);
  });
  const range = Math.max(...ranges);
  return { worth: range ** 2 * Math.sqrt(total), axis: ranges.indexOf(range) };
}

function indexed({ data }, nearest) {
  const out = new Uint8Array(data.length / 4);
  for (let i = 0; i < out.length; i++) out[i] = nearest[cellOf(data, 4 * i)];
  return out;
}

/** LZW with codes of up to 12 bits, in blocks of 255 bytes. */
function compressed(indices) {
  const [clear, end] = [256, 257];
  const bytes = [];
  let [size, next, pending, bits] = [9, 258, 0, 0];
  let known = new Map();
  const write = (code) => {
    pending |= code << bits;
    bits += size;
    while (bits >= 8) {
      bytes.push(pending & 255);
      pending >>>= 8;
      bits -= 8;
    }
  };
  write(clear);
  let prefix = indices[0];
  for (let i = 1; i < indices.length; i++) {
    const longer = prefix << 8 | indices[i];
    const code = known.get(longer);
    if (code !== undefined) {
      prefix = code;
      continue;
    }
    write(prefix);
    if (next === 4096) {
      write(clear);
      known = new Map();
      [size, next] = [9, 258];
    } else {
      known.set(longer, next);
      if (next === 1 << size) size += 1;
      next += 1;
    }
    prefix = indices[i];
  }
  write(prefix);
  write(end);
  if (bits > 0) bytes.push(pending & 255);
  const out = [8];
  for (let at = 0; at < bytes.length; at += 255) {
    const block = bytes.slice(at, at + 255);
    out.push(block.length, ...block);
  }
  out.push(0);
  return Uint8Array.from(out);
}
