import { expect, it } from 'vitest';
import { forChoosing } from './choosing.ts';
import type { Dataset, Split } from './dataset.ts';

const split = (name: string, length: number): Split => ({
  name,
  length,
  label: (index) => index % 2,
  id: (index) => `${name}${index}`,
  read: async (index) => ({ width: 1, height: 1, channels: 1, data: Uint8Array.of(index) }),
  source: async (index) => ({ path: `${name}${index}` }),
});
const data: Dataset = { name: 'd', classes: ['a', 'b'], train: split('train', 20), val: split('test', 6) };

it('a test set is not chosen by: a fifth of the training images is, and is not trained on', async () => {
  const { train, val, isTest } = forChoosing({ ...data, isTest: true });
  expect([train.length, val.length, isTest]).toEqual([16, 4, false]);
  const ids = (part: Split) => Array.from({ length: part.length }, (_, i) => part.id(i));
  expect(new Set([...ids(train), ...ids(val)]).size).toBe(20);
  expect(ids(val).every((id) => id.startsWith('train'))).toBe(true);
  const image = await val.read(0);
  expect(`train${image.data[0]}`).toBe(val.id(0));
  expect(await val.source!(0)).toEqual({ path: val.id(0) });
});

it('other held-out images stay what they are', () => {
  expect(forChoosing(data)).toBe(data);
});
