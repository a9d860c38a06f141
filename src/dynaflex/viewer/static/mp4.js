// MP4 files with one H.264 track whose frames are equally long; the index comes first, so that they play at once.

const TICKS = 100;
const UNITY = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000];

/**
 * A movie as a Blob. `samples`: [{bytes, key}], as the encoder gave them; `description` is its decoder configuration.
 * No frame may depend on a later one.
 */
export function mp4({ samples, description, width, height, rate }) {
  const [scale, duration] = [rate * TICKS, samples.length * TICKS];
  const entry = box("avc1", words(0), words(1), new Uint8Array(16), shorts(width, height), words(72 << 16, 72 << 16, 0),
    shorts(1), new Uint8Array(32), shorts(24, 0xffff), box("avcC", description));
  const keys = samples.flatMap(({ key }, i) => (key ? [i + 1] : []));
  const table = (offset) => box("stbl",
    box("stsd", words(0, 1), entry),
    box("stts", words(0, 1, samples.length, TICKS)),
    box("stss", words(0, keys.length, ...keys)),
    box("stsc", words(0, 1, 1, samples.length, 1)),
    box("stsz", words(0, 0, samples.length, ...samples.map(({ bytes }) => bytes.length))),
    box("stco", words(0, 1, offset)));
  const movie = (offset) => box("moov",
    box("mvhd", words(0, 0, 0, scale, duration, 0x10000), shorts(0x100, 0), words(0, 0, ...UNITY, 0, 0, 0, 0, 0, 0, 2)),
    box("trak",
      // Flags: the track is enabled, in the movie and in its preview.
      box("tkhd", words(7, 0, 0, 1, 0, duration, 0, 0, 0, 0, ...UNITY, width << 16, height << 16)),
      box("mdia",
        box("mdhd", words(0, 0, 0, scale, duration, 0x55c40000)),
        box("hdlr", words(0, 0), ascii("vide"), words(0, 0, 0), ascii("video\0")),
        box("minf", box("vmhd", words(1, 0, 0)), box("dinf", box("dref", words(0, 1), box("url ", words(1)))), table(offset)))));
  const kind = box("ftyp", ascii("isom"), words(0x200), ascii("isomiso2avc1mp41"));
  const ahead = kind.length + movie(0).length + 8;
  const size = samples.reduce((sum, { bytes }) => sum + bytes.length, 0);
  return new Blob([kind, movie(ahead), words(size + 8), ascii("mdat"), ...samples.map(({ bytes }) => bytes)], { type: "video/mp4" });
}

const ascii = (text) => new TextEncoder().encode(text);

function box(name, ...parts) {
  const size = parts.reduce((sum, part) => sum + part.length, 8);
  const out = new Uint8Array(size);
  out.set(words(size));
  out.set(ascii(name), 4);
  let at = 8;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function words(...values) {
  const out = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => out.setUint32(4 * i, value));
  return new Uint8Array(out.buffer);
}

function shorts(...values) {
  const out = new DataView(new ArrayBuffer(2 * values.length));
  values.forEach((value, i) => out.setUint16(2 * i, value));
  return new Uint8Array(out.buffer);
}
