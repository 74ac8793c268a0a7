import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Report } from '../src/report/schema.ts';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();
const run = (...rest: string[]) =>
  pqv(
    ...['optimize', at('model'), '-o', at('run'), '--data', 'mnist', '--runs', '1', '--threads', '1'],
    ...['--samples', '50', '--search-samples', '50', '--max-drop', '100', ...rest],
  );
const report = () => JSON.parse(readFileSync(at('run', 'report.json'), 'utf8')) as Report;

it('pqv optimize searches by held-out training images how much to prune, and goes on where it was', async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  const { code, stderr } = await run();
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const { search, stages, recipe } = report();
  const { tried, chosen, stopped, measuredOn } = search!;
  expect(tried.slice(0, 2)).toMatchObject([
    { ratio: 0, dtype: 'fp32' },
    { ratio: 0, dtype: 'int8' },
  ]);
  expect(chosen).toMatchObject({ ratio: 0.85, importance: 'taylor', compensate: 'ridge', dtype: 'int8' });
  expect(stopped).toBe('nothing beyond 0.85 is tried');
  expect(measuredOn).toContain('to choose by');
  expect(recipe).toMatchObject({ prune: { ratio: 0.85, compensate: 'ridge' } });
  expect(stages.map(({ stage }) => stage)).toEqual(['dense', 'pruned', 'quantized']);
  expect(stderr).toMatch(/what ships loses -?\d+\.\d\d points of top-1, within the 100/);
  expect(readFileSync(at('run', 'report.html'), 'utf8')).toContain('<h2>Search</h2>');
  const large = await run('--resume', '--prune', '0.25', '--target-bytes', '1000');
  expect(large).toMatchObject({ code: 0 });
  expect(large.stderr).toMatch(/what ships has \d+ bytes, \d+ more than the 1000 asked for/);
  const again = await run('--resume');
  expect(again).toMatchObject({ code: 0 });
  expect(again.stderr).not.toContain('search: taylor 0');
  expect(report().search!.chosen).toEqual(chosen);
}, 180_000);
