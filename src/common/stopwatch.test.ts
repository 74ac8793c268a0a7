import { expect, it } from 'vitest';
import { Stopwatch } from './stopwatch.ts';

it('passes on what comes, counts the waiting alone, and ends its source', async () => {
  let ended = false;
  async function* slow() {
    try {
      for (let i = 0; ; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        yield i;
      }
    } finally {
      ended = true;
    }
  }
  const watch = new Stopwatch();
  const seen: number[] = [];
  for await (const i of watch.over(slow())) {
    seen.push(i);
    await new Promise((resolve) => setTimeout(resolve, 60));
    if (i === 2) break;
  }
  expect(seen).toEqual([0, 1, 2]);
  expect(ended).toBe(true);
  const { seconds, share } = watch.waited;
  expect(seconds).toBeGreaterThan(0.05);
  expect(share).toBeGreaterThan(0);
  expect(share).toBeLessThan(1);
});
