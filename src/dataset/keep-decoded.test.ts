import { expect, it } from 'vitest';
import type { RawImage, Split, View } from './dataset.ts';
import { keepDecoded } from './keep-decoded.ts';

/** A split of two images, a small and a large one, that gives parts and counts how often it is read. */
function split(): Split & { reads: number } {
  return {
    name: 'two',
    length: 2,
    reads: 0,
    label: () => 0,
    id: (index) => `${index}`,
    async read(index, viewer): Promise<RawImage> {
      this.reads++;
      const edge = index === 0 ? 4 : 400;
      const view = viewer?.({ width: edge, height: edge });
      const [width, height] = view ? [view.width, view.height] : [edge, edge];
      return { width, height, channels: 1, data: new Uint8Array(width * height), ...(view && { view }) };
    },
  };
}

const viewOf = (left: number): View => ({
  ...{ box: { left, top: 0, width: 300, height: 300 }, width: 2, height: 2 },
  interpolation: 'bicubic',
});

it('keeps a small image whole, whatever is asked of it', async () => {
  const source = split();
  const kept = keepDecoded(source);
  for (let pass = 0; pass < 2; pass++)
    expect(await kept.read(0, () => viewOf(pass))).toMatchObject({ width: 4 });
  expect(source.reads).toBe(1);
});

it('gives each who asks for a part of a large one their own, and keeps none', async () => {
  const source = split();
  const kept = keepDecoded(source);
  const views = [viewOf(1), viewOf(2), viewOf(3)];
  const images = await Promise.all(views.map((view) => kept.read(1, () => view)));
  expect(images.map(({ view }) => view)).toEqual(views);
  expect(await kept.read(1)).toMatchObject({ width: 400 });
});
