import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Sweep } from '../src/report/sweep/sweep.ts';
import { pqv, pqvInterruptible, scratch, tinyArgs } from './command.ts';

const at = scratch();
const words = (...rest: string[]) => [
  ...['sweep', at('model'), '-o', at('sweep'), '--data', 'mnist', '--ratios', '0.25,0.5'],
  ...['--importance', 'taylor', '--samples', '32', '--eval-samples', '100'],
  ...['--runs', '2', '--threads', '1', ...rest],
];
const read = (): Sweep => JSON.parse(readFileSync(at('sweep', 'sweep.json'), 'utf8')) as Sweep;

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
}, 60_000);

describe('pqv sweep', () => {
  it('tries each with each; interrupted, it goes on where it was', async () => {
    const started = pqvInterruptible(words());
    const until = Date.now() + 30_000;
    while (!existsSync(at('sweep/ways/taylor-0.25-none-0/stage.json')) && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    started.interrupt();
    expect(await started.finished).toMatchObject({ code: 130 });
    expect(existsSync(at('sweep/sweep.json'))).toBe(false);
    const { code, stdout, stderr } = await pqv(...words('--resume'));
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toMatch(/\d+ of 5 ways taken over/);
    expect(stdout).toContain('taylor 0.5, ridge, int8');
    const { dense, rows, front, best } = read();
    expect(rows).toHaveLength(2 * 2 * 2 + 1);
    expect(rows.every(({ latencyMs }) => latencyMs! > 0)).toBe(true);
    expect(front.length).toBeGreaterThan(0);
    expect(best).toBeNull();
    const half = rows.find(({ ratio, dtype }) => ratio === 0.5 && dtype === 'fp32')!;
    expect(half.macs).toBeLessThan(dense.macs / 2);
    expect(readdirSync(at('sweep/ways/taylor-0.25-none-0')).sort()).toEqual([
      ...['fp32.onnx', 'int8.onnx', 'stage.json'],
    ]);
    expect(readFileSync(at('sweep/sweep.csv'), 'utf8').trim().split('\n')).toHaveLength(rows.length + 2);
  }, 120_000);

  it('writes the best under a budget from what was measured, and says by how much one is missed', async () => {
    const met = await pqv(...words('--resume', '--target-macs', '0.001'));
    expect(met).toMatchObject({ code: 0 });
    expect(met.stderr).toContain('5 of 5 ways taken over');
    const { best } = read();
    expect(best!.macs).toBeLessThanOrEqual(1e6);
    const size = JSON.parse((await pqv('inspect', at('sweep/best'), '--json')).stdout) as { macs: number };
    expect(size.macs).toBe(best!.macs);
    const missed = await pqv(...words('--resume', '--target-bytes', '100'));
    expect(missed.stdout).toMatch(/nothing meets the budget; the nearest is .*bytes more than asked/);
    const untimed = await pqv(...words('--target-latency', '1', '--runs', '0'));
    expect(untimed).toMatchObject({ code: 2 });
  }, 120_000);
});
