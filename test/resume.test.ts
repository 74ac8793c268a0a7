import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { Random } from '../src/common/random.ts';
import { pqv, pqvInterruptible, scratch, tinyArgs } from './command.ts';

const at = scratch();
const run = (...rest: string[]) =>
  pqv(
    ...['optimize', at('model'), '-o', at('run'), '--data', 'mnist', '--samples', '50', '--runs', '1'],
    ...['--prune', '0.25', '--dtype', 'fp32', '--resume', ...rest],
  );
const takenOver = (stderr: string) => [...stderr.matchAll(/^(\w+): taken over/gm)].map(([, stage]) => stage);
const everything = ['dense', 'pruned', 'artifacts'];

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  expect(await run()).toMatchObject({ code: 0 });
}, 60_000);

describe('--resume', () => {
  it('takes over what came from the same model, and nothing once its weights are others', async () => {
    expect(takenOver((await run()).stderr)).toEqual(everything);
    const other = await pqv('init', ...tinyArgs, '-o', at('model'), '--seed', '7');
    expect(other).toMatchObject({ code: 0 });
    expect(takenOver((await run()).stderr)).toEqual([]);
    expect(takenOver((await run()).stderr)).toEqual(everything);
    expect(takenOver((await run('--mean', '0.3')).stderr)).toEqual([]);
    await run();
  });

  it('counts a damaged or older marker as none', async () => {
    const marker = at('run', 'pruned', 'stage.json');
    const whole = readFileSync(marker, 'utf8');
    const random = new Random(11);
    const flipped = () => {
      const bytes = Buffer.from(whole);
      bytes[random.below(bytes.length)] = 33 + random.below(90);
      return bytes;
    };
    const { key, result } = JSON.parse(whole);
    const older = JSON.stringify({ key, result });
    for (const damaged of ['', '[]', 'null', older, whole.slice(0, 200), flipped(), flipped()]) {
      if (damaged.toString() === whole) continue;
      writeFileSync(marker, damaged);
      const { code, stderr } = await run();
      expect(code, stderr).toBe(0);
      expect(takenOver(stderr)).toEqual(['dense', 'artifacts']);
      expect(stderr).not.toMatch(/error/);
    }
  }, 120_000);

  it('does a stage again of which a file is gone or cut', async () => {
    writeFileSync(at('run', 'pruned', 'model.onnx'), 'x');
    expect(takenOver((await run()).stderr)).toEqual(['dense', 'artifacts']);
    rmSync(at('run', 'dense', 'deploy.onnx'));
    expect(takenOver((await run()).stderr)).toEqual(['pruned', 'artifacts']);
  });
});

describe('a run directory', () => {
  it('belongs to one process at a time', async () => {
    const holder = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const lock = { pid: holder.pid, host: hostname(), since: '2026-01-01T00:00:00.000Z' };
    writeFileSync(at('run', 'run.lock'), JSON.stringify(lock));
    const before = statSync(at('run', 'pruned', 'stage.json')).mtimeMs;
    const second = await run();
    expect(second.code).toBe(2);
    expect(second.stderr).toMatch(
      new RegExp(`run is in use by process ${holder.pid} on .* since 2026-01-01`),
    );
    expect(statSync(at('run', 'pruned', 'stage.json')).mtimeMs).toBe(before);
    expect(JSON.parse(readFileSync(at('run', 'run.lock'), 'utf8'))).toEqual(lock);
    holder.kill('SIGKILL');
    await new Promise((resolve) => holder.on('close', resolve));
    expect(await run()).toMatchObject({ code: 0 });
    expect(existsSync(at('run', 'run.lock'))).toBe(false);
    writeFileSync(at('run', 'run.lock'), 'damaged');
    expect(await run()).toMatchObject({ code: 0 });
  });

  it('is rid of what a killed process left half written, and of nothing else', async () => {
    const { pid: gone } = spawnSync(process.execPath, ['-e', '']);
    const left = [
      `run/recipe.yaml.${gone}.tmp`,
      `run/pruned/model.onnx.${gone}.tmp`,
      'run/pruned/pending.json', // killed right after the stage's last file took its place
    ];
    const kept = [`run/dense/model.onnx.${process.pid}.tmp`, 'run/notes.tmp'];
    for (const name of [...left, ...kept]) writeFileSync(at(name), 'half');
    mkdirSync(at('run', 'dense', `.deploy.onnx.${gone}.aB3dE6`));
    expect(await run()).toMatchObject({ code: 0 });
    for (const name of left) expect(existsSync(at(name)), name).toBe(false);
    for (const name of kept) expect(existsSync(at(name)), name).toBe(true);
    expect(readdirSync(at('run', 'dense')).filter((name) => name.startsWith('.'))).toEqual([]);
    for (const name of kept) rmSync(at(name));
  });
});

it.skipIf(process.platform === 'win32')('a model folder is replaced as a whole or not at all', async () => {
  expect(await pqv('prune', at('model'), '-o', at('out'), '--ratio', '0.25')).toMatchObject({ code: 0 });
  const read = () =>
    ['config.json', 'model.onnx', 'model.safetensors'].map((name) => readFileSync(at('out', name), 'base64'));
  const before = read();
  const [weights, graph] = ['model.safetensors', 'model.onnx'].map((name) => statSync(at('out', name)).size);
  expect(graph! - weights!).toBeGreaterThan(1024);
  const blocks = Math.ceil(weights! / 512);
  const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const command = [process.execPath, main, 'prune', at('model'), '-o', at('out'), '--ratio', '0.24'];
  const full = spawnSync('sh', ['-c', `ulimit -f ${blocks}; exec "$@"`, 'sh', ...command], {
    encoding: 'utf8',
  });
  expect(full.stderr).toMatch(/can't write .*model\.onnx: the (disk is full|file is too large)/);
  expect(read()).toEqual(before);
  expect(readdirSync(at('out')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

it.skipIf(process.platform === 'win32').each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'ended by %s a training leaves what it can be gone on from',
  async (signal) => {
    const training = ['finetune', at('model'), '-o', at(signal), '--data', 'mnist', '--epochs', '500'];
    const { finished, interrupt, output } = pqvInterruptible([...training, '--limit', '256']);
    await vi.waitUntil(() => /^finetune: /m.test(output()), { timeout: 30_000 });
    interrupt(signal);
    const { code, stderr } = await finished;
    expect(code, stderr).toBe(130);
    expect(stderr).toMatch(/stopped in epoch \d+ of 500, batch \d+; resume to go on/);
    expect(readdirSync(at(signal))).toEqual(['checkpoint.safetensors']);
  },
  60_000,
);

it('a training whose data vanish ends in a line, and goes on once they are back', async () => {
  const edge = 160; // large enough not to be kept decoded
  for (const label of ['0', '1']) {
    mkdirSync(at('images', 'train', label), { recursive: true });
    mkdirSync(at('images', 'val', label), { recursive: true });
    const data = Buffer.alloc(edge * edge * 3, label === '0' ? 60 : 180);
    const image = await sharp(data, { raw: { width: edge, height: edge, channels: 3 } })
      .jpeg()
      .toBuffer();
    for (let i = 0; i < 12; i++) writeFileSync(at('images', 'train', label, `${i}.jpg`), image);
    writeFileSync(at('images', 'val', label, '0.jpg'), image);
  }
  const training = ['finetune', at('model'), '-o', at('lost'), '--data', at('images'), '--new-head'];
  const options = ['--epochs', '30', '--batch-size', '4'];
  const { finished, output } = pqvInterruptible([...training, ...options]);
  await vi.waitUntil(() => existsSync(at('lost', 'checkpoint.safetensors')), { timeout: 30_000 });
  renameSync(at('images'), at('elsewhere'));
  const { code, stderr } = await finished;
  expect(code, output()).toBe(2);
  expect(stderr.trim().split('\n').at(-1)).toMatch(/^pqv: error: .*images can't be read, more than 1 %/);
  renameSync(at('elsewhere'), at('images'));
  const resumed = await pqv(...training, ...options, '--resume');
  expect(resumed).toMatchObject({ code: 0, stderr: expect.stringMatching(/resumed after epoch \d+/) });
}, 120_000);
