import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { Tensor } from '../src/graph/tensor.ts';
import { type Report, reportSchema, stageNames } from '../src/report/schema.ts';
import { onnxruntime } from '../src/runtime/onnxruntime.node.ts';
import { type Outcome, pqv, pqvInterruptible, scratch, tinyArgs } from './command.ts';

const at = scratch();
const readReport = (folder: string) => JSON.parse(readFileSync(at(folder, 'report.json'), 'utf8')) as Report;

/** What decides the finetuned weights; the rest of a run comes after them. */
const optimize = (folder: string, ...rest: string[]) => [
  ...['optimize', at('model'), '-o', at(folder), '--data', 'mnist', '--samples', '200', '--runs', '3'],
  ...['--prune', '0.25', '--importance', 'l1', '--finetune-epochs', '1', '--lr', '0.003', ...rest],
];
const whole = optimize('run', '--formats', 'onnx,ort', '--compare-backends', '--json');

let first: Outcome;

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  first = await pqv(...whole);
}, 120_000);

describe('a whole run', () => {
  it('ends with a report of every stage, the same on stdout and in its folder', () => {
    expect(first).toMatchObject({ code: 0 });
    const report = reportSchema.parse(JSON.parse(first.stdout));
    expect(readReport('run')).toEqual(report);
    expect(report.stages.map(({ stage }) => stage)).toEqual([...stageNames]);
    for (const { samples, latencyMs } of report.stages) {
      expect({ samples, runs: latencyMs?.runs }).toEqual({ samples: 200, runs: 3 });
    }
    const [dense, pruned, finetuned, quantized] = report.stages;
    expect(pruned!.parameters).toBeLessThan(dense!.parameters * 0.85);
    expect(pruned!.macs).toBeLessThan(dense!.macs * 0.85);
    expect(finetuned!.top1!).toBeGreaterThan(pruned!.top1! + 0.2);
    expect(quantized!.top1!).toBeGreaterThan(finetuned!.top1! - 0.05);
    expect(quantized!.bytes).toBeLessThan(finetuned!.bytes);
    expect(quantized).toMatchObject({ precision: 'int8', backend: 'mlas' });
    expect(report.training!.map(({ step }) => step)).toEqual(report.training!.map((_, i) => i + 1));
    expect(report.channels).toContainEqual({ layer: 'blocks.0.mlp.fc1', kept: 96, total: 128 });
    expect(report.samplesShown!.length).toBeGreaterThanOrEqual(12);
  });

  it('leaves files that are where the report says, as large as it says, and load', async () => {
    const { stages, artifacts } = readReport('run');
    expect(artifacts.map(({ format }) => format)).toEqual(['onnx', 'ort']);
    for (const { file, bytes } of [...stages, ...artifacts]) {
      expect(readFileSync(at('run', file))).toHaveLength(bytes);
      const session = await onnxruntime.load(at('run', file), { threads: 1 });
      const pixels = Tensor.float32([2, 1, 28, 28], new Float32Array(2 * 28 * 28).fill(0.5));
      const { logits } = await session.run({ pixel_values: pixels });
      expect(logits!.shape).toEqual([2, 10]);
      expect(logits!.floats.every(Number.isFinite)).toBe(true);
      await session.dispose();
    }
    expect(readFileSync(at('run', 'report.html'), 'utf8')).toContain('Backends compared');
  });

  it('ships the file that it measured', async () => {
    const { stages, artifacts } = readReport('run');
    const [onnx] = artifacts;
    expect(readFileSync(at('run', onnx!.file)).equals(readFileSync(at('run', stages[3]!.file)))).toBe(true);
    const { stdout } = await pqv(
      'eval',
      at('run', onnx!.file),
      '--data',
      'mnist',
      '--samples',
      '200',
      '--json',
    );
    const { top1, top5, loss } = JSON.parse(stdout);
    expect({ top1, top5, loss }).toEqual({
      top1: stages[3]!.top1,
      top5: stages[3]!.top5,
      loss: stages[3]!.loss,
    });
  });

  it('compares fp16 and every int8 backend under both schemes', () => {
    const { backends, stages } = readReport('run');
    const names = ['mlas', 'x86', 'fbgemm', 'onednn', 'qnnpack'];
    expect(backends!.map(({ dtype, scheme, backend }) => [dtype, scheme, backend])).toEqual([
      ['fp16', undefined, undefined],
      ...names.map((name) => ['int8', 'dynamic', name]),
      ...names.map((name) => ['int8', 'static', name]),
    ]);
    const { top1, bytes } = stages[2]!;
    for (const compared of backends!) {
      expect(Math.abs(compared.top1 - top1!)).toBeLessThan(0.05);
      expect(compared.bytes).toBeLessThan(bytes);
    }
    const { dtype, scheme, backend, ...shipped } = backends![1]!;
    expect([dtype, scheme, backend]).toEqual(['int8', 'dynamic', 'mlas']);
    expect(stages[3]).toMatchObject(shipped);
    expect(existsSync(at('run', 'backends', 'compared.onnx'))).toBe(false);
  });

  it('is taken over stage by stage with --resume, with what devices measured of files that are the same', async () => {
    const report = readReport('run');
    const sha256 = createHash('sha256')
      .update(readFileSync(at('run', 'dense/deploy.onnx')))
      .digest('hex');
    const how = {
      precision: 'fp32' as const,
      format: 'onnx',
      runtime: 'test',
      how: 'test',
      accelerator: 'cpu' as const,
    };
    const cells = ['dense', 'pruned'].map((name) => ({ ...how, name, file: `${name}/deploy.onnx`, sha256 }));
    const facts = {
      userAgent: '',
      cores: 1,
      isolated: true,
      relaxedSimd: true,
      measuredAt: '2026-01-01T00:00:00Z',
    };
    const devices = [{ name: 'a phone', ...facts, cells }];
    writeFileSync(at('run', 'report.json'), JSON.stringify({ ...report, devices }));
    const again = await pqv(...whole, '--resume');
    expect(again.code).toBe(0);
    expect(again.stderr).toContain(
      'devices of the earlier report: 1 measurement kept, 1 dropped, whose files are others now: pruned/deploy.onnx\n',
    );
    expect(JSON.parse(again.stdout).devices).toMatchObject([{ name: 'a phone', cells: [{ name: 'dense' }] }]);
    for (const name of [...stageNames, 'artifacts', 'backends']) {
      expect(again.stderr).toContain(`${name}: taken over from the earlier run`);
    }
    expect(again.stderr).not.toMatch(/^finetune:/m);
    const [before, after] = [first, again].map(({ stdout }) => JSON.parse(stdout) as Report);
    const lasting = ({ stages, artifacts, training, channels, backends }: Report) => ({
      ...{ artifacts, training, channels, backends },
      stages: stages.map(({ latencyMs: _, peakRssBytes: __, speedup: ___, ...entry }) => entry),
    });
    expect(lasting(after!)).toEqual(lasting(before!));
  });

  it('has its page made again by pqv report, and says so when a file is gone', async () => {
    const page = readFileSync(at('run', 'report.html'), 'utf8');
    rmSync(at('run', 'report.html'));
    const made = await pqv('report', at('run'));
    expect(made).toMatchObject({ code: 0 });
    expect(made.stdout).toContain('finetuned');
    expect(readFileSync(at('run', 'report.html'), 'utf8')).toBe(page);
    rmSync(at('run', 'pruned', 'deploy.onnx'));
    const { code, stderr } = await pqv('report', at('run'));
    expect(code).toBe(2);
    expect(stderr).toMatch(/pruned\/deploy\.onnx is gone.*--resume/);
  });
});

it('is stopped by Ctrl-C while it trains and ends, resumed by its recipe, with the weights of a run that was not', async () => {
  const args = optimize('stopped', '--dtype', 'fp32');
  const { finished, interrupt } = pqvInterruptible(args);
  await vi.waitUntil(() => existsSync(at('stopped', 'finetuned', 'pending.json')), {
    timeout: 60_000,
    interval: 5,
  });
  interrupt();
  const stopped = await finished;
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(/interrupted: stopped in epoch 1 of 1, batch \d+; resume to go on/);
  expect(existsSync(at('stopped', 'finetuned', 'model.safetensors'))).toBe(false);
  const recipe = at('stopped', 'recipe.yaml');
  const resumed = await pqv('optimize', '--recipe', recipe, '-o', at('stopped'), '--resume');
  expect(resumed).toMatchObject({ code: 0 });
  expect(resumed.stderr).toContain('pruned: taken over from the earlier run');
  expect(resumed.stderr).toMatch(/resumed after epoch 0, batch \d+/);
  const weights = (folder: string) => readFileSync(at(folder, 'finetuned', 'model.safetensors'));
  expect(weights('stopped').equals(weights('run'))).toBe(true);
  expect(readReport('stopped').recipe).toEqual({
    ...readReport('run').recipe,
    ...{ formats: ['onnx'], compareBackends: false },
    quantize: expect.objectContaining({ dtype: 'fp32' }),
  });
  expect(weights('stopped').equals(readFileSync(at('stopped', 'pruned', 'model.safetensors')))).toBe(false);
});
