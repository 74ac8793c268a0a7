/**
 * Tables for CRC-32 (polynomial 0xEDB88320) taken sixteen bytes at a time: row k holds what a byte
 * contributes when k more bytes follow it in the block.
 */
const tables = (() => {
  const rows = new Int32Array(16 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    rows[byte] = crc;
  }
  for (let at = 256; at < rows.length; at++) {
    const before = rows[at - 256]!;
    rows[at] = (before >>> 8) ^ rows[before & 255]!;
  }
  return rows;
})();

/** CRC-32 of the bytes, as zip, gzip and PNG use it; an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array): number {
  const t = tables;
  let crc = -1;
  let at = 0;
  const single = (end: number) => {
    for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 255]!;
  };
  single(Math.min(bytes.length, (4 - (bytes.byteOffset & 3)) & 3));
  const blocks = (bytes.length - at) >>> 4;
  const words = blocks ? new Int32Array(bytes.buffer, bytes.byteOffset + at, blocks * 4) : [];
  for (let w = 0; w < words.length; w += 4) {
    const a = words[w]! ^ crc;
    const b = words[w + 1]!;
    const c = words[w + 2]!;
    const d = words[w + 3]!;
    crc =
      t[3840 + (a & 255)]! ^
      t[3584 + ((a >>> 8) & 255)]! ^
      t[3328 + ((a >>> 16) & 255)]! ^
      t[3072 + (a >>> 24)]! ^
      t[2816 + (b & 255)]! ^
      t[2560 + ((b >>> 8) & 255)]! ^
      t[2304 + ((b >>> 16) & 255)]! ^
      t[2048 + (b >>> 24)]! ^
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + (d & 255)]! ^
      t[512 + ((d >>> 8) & 255)]! ^
      t[256 + ((d >>> 16) & 255)]! ^
      t[d >>> 24]!;
  }
  at += blocks * 16;
  single(bytes.length);
  return (crc ^ -1) >>> 0;
}
