import { expect, it } from 'vitest';
import { advice, devicesSection } from '../report/devices.ts';
import { type Report, type ReportDevice, type ReportDeviceCell, reportSchema } from '../report/schema.ts';
import { judge } from './judge.ts';
import { withDevices } from './results.ts';
import { obstacle, runners, threadsOf } from './runners.ts';

const cell = (name: string, median: number, more: Partial<ReportDeviceCell> = {}): ReportDeviceCell => ({
  file: `${name}/deploy.onnx`,
  name,
  precision: name === 'int8' ? 'int8' : 'fp32',
  format: 'onnx',
  runtime: 'onnxruntime-web 1.30.0',
  how: 'ONNX Runtime Web, WASM, 1 thread',
  accelerator: 'wasm',
  threads: 1,
  latencyMs: { median, p95: median, runs: 10 },
  error: 0.001,
  right: true,
  ...more,
});

const device = (name: string, cells: ReportDeviceCell[]): ReportDevice => ({
  name,
  userAgent: 'test',
  cores: 8,
  isolated: true,
  relaxedSimd: true,
  measuredAt: '2026-01-02T03:04:05Z',
  cells,
});

const stage = (name: 'dense' | 'quantized', top1: number) => ({
  stage: name,
  precision: name === 'dense' ? ('fp32' as const) : ('int8' as const),
  top1,
  parameters: 1,
  macs: 1,
  bytes: 1,
  file: `${name}/deploy.onnx`,
});

const report = (devices?: ReportDevice[]): Report =>
  reportSchema.parse({
    model: 'test',
    recipe: {},
    machine: { cpu: 'test', threads: 1, engine: 'test' },
    stages: [stage('dense', 0.9), stage('quantized', 0.89)],
    artifacts: [],
    devices,
  });

it('advises the fastest that is right, not the fastest', () => {
  const cells = [
    cell('dense', 40),
    cell('int8', 10, { right: false, error: 0.4 }),
    cell('int8', 20, { how: 'other' }),
  ];
  const [found] = advice(report([device('a phone', cells)]));
  expect(found).toMatchObject({ device: 'a phone', best: cells[2], dense: cells[0], top1: 0.89 });
});

it('advises nothing where nothing was right, or nothing measured', () => {
  expect(advice(report())).toEqual([]);
  const wrong = device('a phone', [
    cell('int8', 10, { right: false }),
    { ...cell('dense', 1), latencyMs: undefined },
  ]);
  expect(advice(report([wrong]))).toEqual([]);
});

it('has a column a device; wrong results are no times', () => {
  const text = devicesSection(
    report([
      device('<a phone>', [cell('dense', 41.2), cell('int8', 1.5, { right: false, error: 0.4 })]),
      device('other', [cell('dense', 17.5, { right: null, error: undefined })]),
    ]),
  )!.text;
  expect(text).toContain('&lt;a phone&gt;');
  expect(text).toContain('41.2 ms');
  expect(text).toContain('<span class="bad">wrong</span><small>40 % off</small>');
  expect(text).not.toContain('1.50 ms');
  expect(text).toContain('not checked');
  expect(devicesSection(report())).toBeUndefined();
});

it('keeps what a device measured before, but for what it measured anew', () => {
  const before = report([
    device('a phone', [cell('dense', 40), cell('int8', 20)]),
    device('other', [cell('dense', 9)]),
  ]);
  const { devices } = withDevices(before, [device('a phone', [cell('int8', 18)]), device('third', [])]);
  expect(devices!.map(({ name, cells }) => [name, cells.map(({ latencyMs }) => latencyMs!.median)])).toEqual([
    ['a phone', [40, 18]],
    ['other', [9]],
  ]);
  expect(withDevices(report(), []).devices).toBeUndefined();
});

it('allows a graphics processor float16, and nobody more', () => {
  const expectation = { samples: [{ values: [3, 4] }], tolerance: 1e-3, from: 'the test' };
  const off = (by: number) => [[3, 4 + by]];
  expect(judge(off(0.05), expectation, 'webgpu').right).toBe(true);
  expect(judge(off(0.05), expectation, 'wasm')).toEqual({ error: expect.closeTo(0.01, 9), right: false });
  expect(judge(off(0.2), expectation, 'webgpu').right).toBe(false);
});

it('knows what a browser can not', () => {
  const all = { isolated: true, relaxedSimd: true, webgpu: true, cores: 8 };
  expect(runners.map((runner) => obstacle(runner, all))).toEqual(runners.map(() => undefined));
  const no = (less: Partial<typeof all>) =>
    runners.filter((runner) => obstacle(runner, { ...all, ...less })).map(({ id }) => id);
  expect(no({ webgpu: false })).toEqual(['onnx-webgpu', 'tflite-webgpu']);
  expect(no({ isolated: false })).toEqual(['onnx-wasm-n', 'tflite-wasm-n']);
  expect(no({ relaxedSimd: false })).toEqual(['tflite-wasm-n']);
  expect(no({ cores: 1 })).toEqual(['onnx-wasm-n', 'tflite-wasm-n']);
  expect(threadsOf(runners[1]!, all)).toBe(4);
});
