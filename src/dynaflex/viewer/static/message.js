// Talking to the server: binary messages as in wire.py, JSON, and errors that say what to do.

let key = "";

/** Remember the key that every request that writes must carry. */
export function setKey(value) {
  key = value;
}

/** A JSON answer; throws an Error with the server's own words. */
export async function getJson(path, options = {}) {
  const response = await answered(path, options);
  return response.json();
}

/** A binary answer: its header, with `data` holding one typed array per entry of `arrays`. */
export async function getBinary(path, options = {}) {
  const response = await answered(path, options);
  return unpack(await response.arrayBuffer());
}

/** Send a header and bytes behind it; the answer is JSON. */
export async function post(path, header, bytes) {
  return (await posted(path, header, bytes)).json();
}

/** The same, with a binary answer. */
export async function postForBinary(path, header, bytes) {
  return unpack(await (await posted(path, header, bytes)).arrayBuffer());
}

function posted(path, header, bytes) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const body = new Uint8Array(4 + text.length + bytes.length);
  new DataView(body.buffer).setUint32(0, text.length, true);
  body.set(text, 4);
  body.set(bytes, 4 + text.length);
  return answered(path, { method: "POST", body, headers: { "x-dynaflex-key": key } });
}

const TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array, float64: Float64Array,
};

/** Header and arrays of a message; the arrays are views, nothing is copied. */
export function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  let offset = 4 + size;
  message.data = message.arrays.map(({ dtype, shape }) => {
    const length = shape.reduce((product, side) => product * side, 1);
    const array = new TYPES[dtype](buffer, offset, length);
    offset += Math.ceil(array.byteLength / 8) * 8;
    return array;
  });
  return message;
}

async function answered(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: is `dynaflex view` still running, and the ssh connection open?");
  }
  if (response.ok) return response;
  if (response.status === 403) throw new Error("This page is no longer let in: open the link printed last.");
  let reason = `${response.status} ${response.statusText}`;
  try {
    const told = await response.json();
    reason = told.fix ? `${told.error}. ${told.fix}.` : told.error;
  } catch { /* not in our words: the status must do */ }
  throw new Error(reason);
}
