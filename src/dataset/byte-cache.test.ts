import { expect, it } from 'vitest';
import { ByteCache } from './byte-cache.ts';

function counting(limit: number, largest?: number) {
  const cache = new ByteCache<string>(limit, largest);
  const loaded: string[] = [];
  const get = (key: string, bytes: number) =>
    cache.get(key, async () => {
      loaded.push(key);
      return { value: `${key}!`, bytes };
    });
  return { cache, loaded, get };
}

it('loads once what is asked for again, also while it is loading', async () => {
  const { loaded, get } = counting(10);
  expect(await Promise.all([get('a', 1), get('a', 1)])).toEqual(['a!', 'a!']);
  expect(await get('a', 1)).toBe('a!');
  expect(loaded).toEqual(['a']);
});

it('lets go of what was used least recently', async () => {
  const { cache, loaded, get } = counting(10);
  await get('a', 4);
  await get('b', 4);
  await get('a', 4);
  await get('c', 4);
  expect(cache.bytes).toBe(8);
  await get('a', 4);
  await get('b', 4);
  expect(loaded).toEqual(['a', 'b', 'c', 'b']);
});

it('keeps the newest even where it is larger than the limit, and nothing above the largest size', async () => {
  const { cache, loaded, get } = counting(10);
  await get('a', 4);
  await get('huge', 40);
  await get('huge', 40);
  expect([cache.bytes, loaded]).toEqual([40, ['a', 'huge']]);
  const small = counting(100, 10);
  await small.get('huge', 40);
  await small.get('huge', 40);
  expect([small.cache.bytes, small.loaded]).toEqual([0, ['huge', 'huge']]);
});

it('forgets a load that failed', async () => {
  const cache = new ByteCache<number>(10);
  await expect(cache.get('a', () => Promise.reject(new Error('gone')))).rejects.toThrow('gone');
  expect(await cache.get('a', async () => ({ value: 1, bytes: 1 }))).toBe(1);
});
