import { describe, expect, it } from 'vitest';
import type { Cell, MeasuredCell } from '../../report/sweep/rows.ts';
import { chooseRatio } from './choose-ratio.ts';

/** Models that lose 10 points a unit of the ratio squared, and what int8 costs besides. */
function measuring(int8Loss = 0.001) {
  const tried: number[] = [];
  const measured = async (ratio: number, dtype: Cell['dtype']): Promise<MeasuredCell> => {
    tried.push(ratio);
    const top1 = 0.8 - 0.1 * ratio ** 2 - (dtype === 'int8' ? int8Loss : 0);
    const bytes = Math.round((dtype === 'int8' ? 250 : 1000) * (1 - ratio) ** 2);
    return {
      ...{ ratio, importance: 'l1', compensate: 'none', dtype, seed: 0, top1, samples: 10 },
      ...{ parameters: 1, macs: 1, bytes, shape: '' },
    };
  };
  return { tried, measured };
}

describe('a search', () => {
  it('takes the most that keeps to the drop', async () => {
    const { tried, measured } = measuring();
    const { best, reasons } = await chooseRatio(measured, 'int8', { maxDrop: 1, targetBytes: null });
    // 10 r^2 + 0.1 <= 1 up to 0.3.
    expect(best).toMatchObject({ ratio: 0.3, dtype: 'int8' });
    expect(reasons).toEqual(['at 0.35 more than 1 points are lost']);
    expect(tried.length).toBeLessThanOrEqual(7);
  });

  it('stays in float32 where int8 alone loses too much, and dense where anything does', async () => {
    const { best, reasons } = await chooseRatio(measuring(0.02).measured, 'int8', {
      maxDrop: 1,
      targetBytes: null,
    });
    expect(best).toMatchObject({ ratio: 0.3, dtype: 'fp32' });
    expect(reasons).toContain('int8 alone loses more than 1 points');
    const none = await chooseRatio(measuring().measured, 'fp32', { maxDrop: 0, targetBytes: null });
    expect(none.best).toMatchObject({ ratio: 0, dtype: 'fp32' });
    const all = await chooseRatio(measuring().measured, 'int8', { maxDrop: 50, targetBytes: null });
    expect(all).toMatchObject({ best: { ratio: 0.85 }, reasons: ['nothing beyond 0.85 is tried'] });
  });

  it('takes the least that is small enough, or says by how much nothing is', async () => {
    const { best } = await chooseRatio(measuring().measured, 'int8', { maxDrop: null, targetBytes: 100 });
    // 250 (1 - r)^2 <= 100 from 0.37 on.
    expect(best.ratio).toBe(0.4);
    const dense = await chooseRatio(measuring().measured, 'int8', { maxDrop: null, targetBytes: 250 });
    expect(dense.best.ratio).toBe(0);
    const missed = await chooseRatio(measuring().measured, 'int8', { maxDrop: null, targetBytes: 5 });
    expect(missed.best.ratio).toBe(0.85);
    expect(missed.reasons).toContain('the budget is not met: 6 bytes, 1 bytes more than asked');
    const both = await chooseRatio(measuring().measured, 'int8', { maxDrop: 1, targetBytes: 100 });
    expect(both.best.ratio).toBe(0.3);
    expect(both.reasons.at(-1)).toBe('the budget is not met: 122 bytes, 22 bytes more than asked');
  });
});
