import { expect, it } from 'vitest';
import { discard } from './discard.ts';

it('takes the memory of a buffer at once', () => {
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 32; i++) {
    const { buffer } = new Float32Array(1 << 21).fill(1);
    discard(buffer);
    expect(buffer.byteLength).toBe(0);
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(1 << 27);
});
