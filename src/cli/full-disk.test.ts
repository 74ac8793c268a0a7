import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeOnnx } from '../onnx/write.ts';
import { initModel } from '../zoo/model.ts';

const folder = mkdtempSync(join(tmpdir(), 'pqv-full-disk-'));
const model = join(folder, 'model.onnx');

beforeAll(() => {
  const modelArgs = { img_size: 32, embed_dim: 96, depth: 1, num_heads: 2 };
  const graph = initModel({ architecture: 'vit_tiny_patch16_224', modelArgs, numClasses: 3 });
  writeFileSync(model, writeOnnx(graph));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A limit on the size of files, in blocks of 512 bytes, stands for a disk that is full. */
const withFileLimit = (blocks: number, args: readonly string[]) =>
  spawnSync(
    'sh',
    [
      '-c',
      `ulimit -f ${blocks}; exec "$@"`,
      'sh',
      process.execPath,
      fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url)),
      ...args,
    ],
    { encoding: 'utf8', env: { ...process.env, PQV_PYTHON: '' } },
  );

describe.skipIf(process.platform === 'win32')('a disk that is full', () => {
  it.each(['ptl', 'torchscript', 'onnx', 'ort'])('%s: one line, exit code 2, nothing left', (format) => {
    const output = join(folder, `out-${format}`, `model.${format}`);
    const { status, stderr } = withFileLimit(200, [
      'export',
      model,
      '--format',
      format,
      '-o',
      output,
      '--quiet',
    ]);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(`can't write ${output}: the `);
    expect(status).toBe(2);
    expect(readdirSync(join(folder, `out-${format}`))).toEqual([]);
  });
});
