// ZIP archives without compression: pictures are packed already.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** An archive as a Blob, of files {name, bytes}; names are ASCII. */
export function zip(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const { name, bytes } of files) {
    const title = new TextEncoder().encode(name);
    const fields = [20, 0, 0, 0, 0x21, crc(bytes), bytes.length, bytes.length, title.length, 0];
    const widths = [2, 2, 2, 2, 2, 4, 4, 4, 2, 2];
    const local = record(0x04034b50, fields, widths);
    parts.push(local, title, bytes);
    directory.push(record(0x02014b50, [20, ...fields, 0, 0, 0, 0, offset], [2, ...widths, 2, 2, 2, 4, 4]), title);
    offset += local.length + title.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record(0x06054b50, [0, 0, files.length, files.length, size, offset, 0], [2, 2, 2, 2, 4, 4, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function record(signature, values, widths) {
  const out = new DataView(new ArrayBuffer(4 + widths.reduce((sum, width) => sum + width, 0)));
  out.setUint32(0, signature, true);
  let at = 4;
  values.forEach((value, i) => {
    if (widths[i] === 4) out.setUint32(at, value, true);
    else out.setUint16(at, value, true);
    at += widths[i];
  });
  return new Uint8Array(out.buffer);
}

function crc(bytes) {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) value = CRC[(value ^ bytes[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
