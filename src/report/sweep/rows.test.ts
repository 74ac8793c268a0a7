import { describe, expect, it } from 'vitest';
import { chosen, misses, shortfallText } from './budget.ts';
import { sweepCsv } from './csv.ts';
import { sweepPage } from './page.ts';
import { type MeasuredCell, paretoFront, rowsOf, type SweepRow } from './rows.ts';

const cell = (over: Partial<MeasuredCell>): MeasuredCell => ({
  ...{ ratio: 0.1, importance: 'l1', compensate: 'none', dtype: 'fp32', seed: 0 },
  ...{ top1: 0.7, samples: 100, parameters: 10, macs: 2e9, bytes: 40, shape: 'a' },
  ...over,
});

const row = (top1: number, latencyMs: number | null, macs = 1e9): SweepRow => ({
  ...{ ratio: 0.1, importance: 'l1', compensate: 'none', dtype: 'fp32', seeds: 1, top1, top1Error: null },
  ...{ samples: 100, parameters: 10, macs, bytes: 1000, shape: 'a', latencyMs },
});

describe('rows of a sweep', () => {
  it('are means over seeds with their standard errors', () => {
    const cells = [0.7, 0.72, 0.77].map((top1, seed) => cell({ top1, seed }));
    const [first, second, ...rest] = rowsOf(
      [...cells, cell({ dtype: 'int8', shape: 'b' })],
      new Map([['a', 3]]),
    );
    expect(rest).toEqual([]);
    expect(first).toMatchObject({ seeds: 3, latencyMs: 3 });
    expect(first!.top1).toBeCloseTo(0.73, 12);
    // The deviations are -0.03, -0.01 and 0.04: their squares 0.0026 over 2 and 3.
    expect(first!.top1Error).toBeCloseTo(Math.sqrt(0.0026 / 6), 12);
    expect(second).toMatchObject({ seeds: 1, top1Error: null, latencyMs: null });
    expect(sweepCsv([second!]).split('\n')[1]).toBe('0.1,l1,none,int8,1,0.7,,100,10,2000000000,40,');
  });

  it('that no other is better than in both are the front', () => {
    const rows = [row(0.7, 5), row(0.8, 9), row(0.75, 5), row(0.74, 7), row(0.8, 12)];
    expect(paretoFront(rows)).toEqual([rows[2], rows[1]]);
    expect(paretoFront([row(0.7, null, 2e9), row(0.6, null, 3e9)])).toHaveLength(1);
  });
});

describe('the best under a budget', () => {
  const dense = row(0.8, 10, 4e9);
  const rows = [row(0.795, 8, 3e9), row(0.792, 6, 2e9), row(0.7, 3, 1e9)];

  it('is the fastest within the drop, or the most accurate within the rest', () => {
    expect(chosen(rows, dense, { maxDrop: 1 }).best).toBe(rows[1]);
    expect(chosen(rows, dense, { targetLatency: 9 }).best).toBe(rows[0]);
    expect(chosen(rows, dense, { targetMacs: 1.5 }).best).toBe(rows[2]);
    expect(chosen(rows, dense, { maxDrop: 20, targetBytes: 1000 }).best).toBe(rows[2]);
    expect(chosen(rows, dense, {})).toEqual({ best: null, nearest: null, shortfall: [] });
  });

  it('that nothing meets names the nearest, and by how much it falls short', () => {
    const { best, nearest, shortfall } = chosen(rows, dense, { maxDrop: 0.6, targetLatency: 6.5 });
    expect(best).toBeNull();
    expect(nearest).toBe(rows[0]);
    expect(shortfallText(shortfall)).toBe('8.00 ms, 1.50 ms more than asked');
    expect(misses(rows[2]!, dense, { maxDrop: 1 })[0]!.found).toBeCloseTo(10, 9);
    expect(shortfallText(misses(rows[2]!, dense, { maxDrop: 1 }))).toBe(
      '10.00 points of top-1 lost, 9.00 points more than asked',
    );
  });
});

it('the page escapes names, asks for nothing and marks the best', async () => {
  const dense = row(0.8, 10);
  const best = row(0.79, 4);
  const page = await sweepPage({
    ...{ model: '<script>x</script>', data: 'd', options: {}, measuredOn: 'val', dense, rows: [best] },
    machine: {
      cpu: 'c',
      threads: 1,
      engine: 'e',
      cores: 1,
      memoryBytes: 1,
      processorClass: 'p',
      system: 's',
    },
    ...{ front: [best, dense], best, nearest: null, shortfall: [] },
  });
  expect(page).not.toContain('<script>');
  expect(page).toContain('Content-Security-Policy');
  expect(page.match(/class="best"/g)).toHaveLength(1);
  expect(page).toContain('<svg');
});
