import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { benchmark } from './latency.node.ts';

const folder = mkdtempSync(join(tmpdir(), 'pqv-litert-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

/** A Python that is none: it answers as the program it is given would, and refuses files of that name. */
const python = `#!${process.execPath}
if (process.argv[2] !== '-c' || !process.argv[3].includes('allocate_tensors')) process.exit(9);
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { op, timed, path, threads, batch } = JSON.parse(line);
  const load = path?.includes('broken') ? { error: 'no such operator' } : { engine: \`litert of \${threads} for \${batch}\` };
  console.log(JSON.stringify({ load, run: { milliseconds: Array(timed).fill(3) }, memory: { peakRssBytes: 11 } }[op]));
});
`;

it.skipIf(process.platform === 'win32')(
  '.tflite files are timed by the Python of PQV_TFLITE_PYTHON',
  async () => {
    const fake = join(folder, 'python');
    writeFileSync(fake, python);
    chmodSync(fake, 0o755);
    vi.stubEnv('PQV_TFLITE_PYTHON', fake);
    const time = (name: string) => {
      const path = join(folder, name);
      writeFileSync(path, '');
      return benchmark([{ name, path }], { runtime: 'litert', runs: 4, warmup: 1, threads: 2, batch: 1 });
    };
    expect(await time('good.tflite')).toMatchObject([{ model: 'good.tflite', median: 3, peakRssBytes: 11 }]);
    await expect(time('broken.tflite')).rejects.toThrow(/broken\.tflite: no such operator/);
  },
);

it('says what is missing where there is no such Python', async () => {
  vi.stubEnv('PQV_TFLITE_PYTHON', '');
  vi.stubEnv('PQV_PYTHON', join(folder, 'none'));
  const path = join(folder, 'model.tflite');
  writeFileSync(path, '');
  await expect(
    benchmark([{ name: 'x', path }], { runtime: 'litert', runs: 1, warmup: 0, threads: 1, batch: 1 }),
  ).rejects.toThrow(/is no Python that has tensorflow/);
});
