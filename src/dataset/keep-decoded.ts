import { ByteCache } from './byte-cache.ts';
import type { Split, View, Viewer } from './dataset.ts';

/** Largest image worth keeping: decoding a photograph takes little beside a step on it, and fills memory. */
const smallBytes = 64 * 2 ** 10;

/**
 * A split that decodes a small image once and keeps it for the next pass, up to so many bytes in all: at
 * 32 pixels, decoding takes a tenth of the time of a training step.
 */
export function keepDecoded(split: Split, bytes = 512 * 2 ** 20): Split {
  const cache = new ByteCache<Awaited<ReturnType<Split['read']>>>(bytes, smallBytes);
  return {
    name: split.name,
    length: split.length,
    label: (index) => split.label(index),
    id: (index) => split.id(index),
    source: split.source && ((index) => split.source!(index)),
    pool: split.pool && ((threads, preparation) => split.pool!(threads, preparation)),
    async read(index, viewer) {
      let asked: View | undefined;
      const ask: Viewer | undefined =
        viewer &&
        (({ width, height }) => {
          asked = width * height * 3 > smallBytes ? viewer({ width, height }) : undefined;
          return asked;
        });
      const image = await cache.get(String(index), async () => {
        const value = await split.read(index, ask);
        return { value, bytes: value.view ? Number.POSITIVE_INFINITY : value.data.length };
      });
      // Who asked for the same image at the same time may have been given another part.
      return image.view === asked || !image.view ? image : split.read(index, ask);
    },
  };
}
