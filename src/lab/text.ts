import type { Tiles } from './model-input.ts';

/** Float32 as base64. */
export function textOfFloats(values: Float32Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096)
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}

/** Tiles whose pixels are base64. */
export const tilesOf = ({ pixels, ...tiles }: Omit<Tiles, 'pixels'> & { pixels: string }): Tiles => ({
  ...tiles,
  pixels: Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0)),
});

/** The floats that base64 holds; undefined where it is none. */
export function floatsOf(text: string): Float32Array | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return bytes.length % 4 === 0 ? new Float32Array(bytes.buffer) : undefined;
}
