import { open, readFile } from 'node:fs/promises';
import type { ImageLocation } from './dataset.ts';

/** The encoded bytes of an image. @throws Error when the file is gone or ends before */
export async function imageBytes(source: ImageLocation | Uint8Array): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  const { path, offset = 0, size } = source;
  if (size === undefined) return readFile(path);
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(size), 0, size, offset);
    if (bytesRead < size) throw new Error(`${path} is cut off`);
    return buffer;
  } finally {
    await file.close();
  }
}
