import { readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import type { Report } from '../src/report/schema.ts';
import { pqv, pqvOf, scratch, tinyArgs } from './command.ts';
import { scratchCheckout } from './scratch-checkout.ts';

const at = scratch();

/** A format of its own folder: the parameters' names as JSON, and a runtime that takes its time over them. */
const plain = `
import { readFileSync, writeFileSync } from 'node:fs';
import * as z from 'zod';
import { parameters } from '../../graph/parameters.ts';
import { format } from '../format.ts';

const child = \`
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { op, timed } = JSON.parse(line);
  const replies = { load: { engine: 'plain 1' }, run: { milliseconds: Array(timed).fill(7) }, memory: { peakRssBytes: 9 } };
  console.log(JSON.stringify(replies[op]));
});\`;

export const plainFormat = format({
  name: 'plain',
  extension: '.plain',
  about: 'people who read',
  runtime: { name: 'reader', command: () => ({ file: process.execPath, args: ['-e', child] }) },
  options: z.strictObject({
    indent: z.number().int().min(0).max(8).default(0).meta({ description: 'blanks before each name' }),
  }),
  async write({ graph, path, options: { indent } }) {
    writeFileSync(path, JSON.stringify(parameters(graph).map(({ name }) => name), null, indent));
  },
  async verify({ path }) {
    JSON.parse(readFileSync(path, 'utf8'));
    return 'nothing computes it';
  },
});
`;

let built: string;

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  built = scratchCheckout(at('checkout'), [
    { file: 'src/export/plain/format.node.ts', content: plain },
    {
      file: 'src/export/formats.node.ts',
      find: '  torchScriptFormat,\n];',
      replace: '  torchScriptFormat,\n  plainFormat,\n];',
    },
    {
      file: 'src/export/formats.node.ts',
      find: "import type { Format } from './format.ts';",
      replace:
        "import type { Format } from './format.ts';\nimport { plainFormat } from './plain/format.node.ts';",
    },
  ]);
}, 120_000);

it('is exported with its own options, which no other format takes', async () => {
  const help = await pqvOf(built, 'export', '--help');
  expect(help.stdout).toMatch(/--format <name>.*"plain"/s);
  expect(help.stdout).toMatch(/--indent <n> +blanks before each name/);
  const file = at('model.plain');
  const args = ['export', at('model'), '--format', 'plain', '-o', file, '--indent', '3', '--json'];
  const { stdout } = await pqvOf(built, ...args);
  expect(JSON.parse(stdout)).toMatchObject({ format: 'plain', file, verified: 'structure' });
  expect(readFileSync(file, 'utf8')).toContain('\n   "cls_token"');
  const wide = await pqvOf(built, ...args, '--indent', '9');
  expect(wide.stderr).toMatch(/--indent.*It must be a whole number from 0 to 8/);
  const onnx = await pqvOf(built, ...args.with(3, 'onnx'));
  expect(onnx).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--indent is for --format plain, not/),
  });
});

it('is named by the loader, and timed on its own runtime', async () => {
  const loaded = await pqvOf(built, 'eval', at('model.plain'), '--data', 'mnist');
  expect(loaded.stderr).toMatch(/for a runtime \(people who read\): .*pqv bench --runtime reader/);
  const args = ['bench', at('model'), at('model.plain'), '--runtime', 'reader', '--json', '--runs', '3'];
  const { stdout } = await pqvOf(built, ...args);
  const { results } = JSON.parse(stdout);
  expect(results).toHaveLength(2);
  for (const result of results)
    expect(result).toMatchObject({ runtime: 'reader', engine: 'plain 1', median: 7 });
});

it('is part of a recipe, a run and its report', async () => {
  const args = ['optimize', at('model'), '-o', at('run'), '--data', 'mnist', '--dtype', 'fp32', '--json'];
  const { stdout, code } = await pqvOf(
    built,
    ...args,
    '--samples',
    '10',
    '--runs',
    '1',
    '--formats',
    'onnx,plain',
  );
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as Report;
  expect(report.artifacts.map(({ format, file }) => [format, file])).toEqual([
    ['onnx', 'artifacts/model.onnx'],
    ['plain', 'artifacts/model.plain'],
  ]);
  expect(report.recipe).toMatchObject({ formats: ['onnx', 'plain'] });
  expect(readFileSync(at('run', 'report.html'), 'utf8')).toContain('<span>people who read</span>');
});
