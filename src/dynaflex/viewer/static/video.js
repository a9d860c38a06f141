// Movies made by the browser: MP4 where it can encode H.264, else what its recorder can make; and animated GIFs.
import { mp4 } from "./mp4.js";
import { applyPalette, GIFEncoder, quantize } from "./vendor/gifenc.esm.js";

const PROFILES = ["avc1.42001f", "avc1.420028", "avc1.420033"];
const RECORDED = ["video/mp4;codecs=avc1.42E01F", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const KEY_EVERY = 24;
const LOOKED_AT = 400_000;

/** Which kind of video this browser makes: {ending: "mp4" or "webm"}, or {why} if none. */
export async function videoKind() {
  if (await profile({ width: 640, height: 480, framerate: 12, bitrate: 4e6 })) return { ending: "mp4" };
  const type = recordable();
  if (type) return { ending: type.slice(6).split(";")[0], type };
  return { why: "this browser makes no video; the zip of pictures has the command that does" };
}

/** A video of some pictures (canvases) as {name, blob}; `told` hears how far it is. */
export async function video(pictures, rate, told) {
  // Colours are stored for two by two pixels, so both sides are even; and every frame is as large as the first.
  const [width, height] = [pictures[0].width, pictures[0].height].map((side) => Math.max(2, side - side % 2));
  const bitrate = Math.max(4e6, 0.4 * width * height * rate);
  const setting = { width, height, framerate: rate, bitrate };
  const codec = await profile(setting);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { alpha: false });
  const draw = (i) => {
    told(`encoding ${i + 1} of ${pictures.length}`);
    pen.drawImage(pictures[i], 0, 0, width, height);
  };
  if (codec) return { name: "motion.mp4", blob: await encoded(canvas, draw, pictures.length, { ...setting, codec }) };
  const { ending, type } = await videoKind();
  return { name: `motion.${ending}`, blob: await recorded(canvas, draw, pictures.length, rate, bitrate, type) };
}

/** A GIF that repeats for ever, as a Blob, of ImageData of one size; the 256 colours are those that suit all frames. */
export function animation(frames, rate) {
  const { width, height } = frames[0];
  const step = Math.max(1, Math.floor((frames.length * width * height) / LOOKED_AT));
  const pixels = frames.map(({ data }) => new Uint32Array(data.buffer).filter((_, i) => i % step === 0));
  const some = Uint32Array.from({ length: pixels.reduce((sum, { length }) => sum + length, 0) });
  pixels.reduce((at, part) => {
    some.set(part, at);
    return at + part.length;
  }, 0);
  const palette = quantize(new Uint8ClampedArray(some.buffer), 256);
  const gif = GIFEncoder();
  for (const [i, { data }] of frames.entries()) {
    const first = i ? {} : { palette, repeat: 0 };
    gif.writeFrame(applyPalette(data, palette), width, height, { ...first, delay: 1000 / rate });
  }
  gif.finish();
  return new Blob([gif.bytes()], { type: "image/gif" });
}

/** A profile of H.264 without frames that depend on later ones, which can be encoded here; null if there is none. */
async function profile(setting) {
  if (!globalThis.VideoEncoder) return null;
  for (const codec of PROFILES) {
    const { supported } = await VideoEncoder.isConfigSupported({ ...setting, codec }).catch(() => ({ supported: false }));
    if (supported) return codec;
  }
  return null;
}

function recordable() {
  const canRecord = globalThis.MediaRecorder && HTMLCanvasElement.prototype.captureStream;
  return canRecord ? RECORDED.find((type) => MediaRecorder.isTypeSupported(type)) : undefined;
}

async function encoded(canvas, draw, count, setting) {
  const { width, height, framerate: rate } = setting;
  const samples = [];
  let [description, trouble] = [null, null];
  const encoder = new VideoEncoder({
    output: (chunk, about) => {
      const bytes = new Uint8Array(chunk.byteLength);
      chunk.copyTo(bytes);
      samples.push({ bytes, key: chunk.type === "key" });
      description ??= about?.decoderConfig?.description;
    },
    error: (error) => { trouble = error; },
  });
  encoder.configure({ ...setting, avc: { format: "avc" } });
  for (let i = 0; i < count && !trouble; i++) {
    draw(i);
    const frame = new VideoFrame(canvas, { timestamp: Math.round((i * 1e6) / rate), duration: Math.round(1e6 / rate) });
    encoder.encode(frame, { keyFrame: i % KEY_EVERY === 0 });
    frame.close();
    while (encoder.encodeQueueSize > 4 && !trouble) await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
  if (!trouble) await encoder.flush();
  if (trouble) throw trouble;
  encoder.close();
  const configuration = new Uint8Array(ArrayBuffer.isView(description) ? description.buffer : description);
  return mp4({ samples, description: configuration, width, height, rate });
}

/** Filmed as it plays, so it takes as long as the movie is. */
async function recorded(canvas, draw, count, rate, bitrate, type) {
  const stream = canvas.captureStream(0);
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: bitrate });
  const parts = [];
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  const stopped = new Promise((resolve) => { recorder.addEventListener("stop", resolve); });
  recorder.start();
  const started = performance.now();
  for (let i = 0; i < count; i++) {
    draw(i);
    stream.getVideoTracks()[0].requestFrame();
    const due = started + (1000 * (i + 1)) / rate;
    await new Promise((resolve) => { setTimeout(resolve, Math.max(due - performance.now(), 0)); });
  }
  recorder.stop();
  await stopped;
  return new Blob(parts, { type: type.split(";")[0] });
}
