import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { beforeEach, expect, it } from 'vitest';
import { scratch } from '../../test/command.ts';
import { writeReport } from '../report/files.node.ts';
import type { Report, ReportDevice, ReportDeviceCell } from '../report/schema.ts';
import { keptDevices } from './keep-devices.node.ts';

const at = scratch();
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

const cell = (file: string, content: string, more: Partial<ReportDeviceCell> = {}): ReportDeviceCell => ({
  ...{ file, sha256: sha256(content), name: 'int8', precision: 'int8', format: 'onnx' },
  ...{ runtime: 'test', how: 'test', accelerator: 'cpu', ...more },
});

const report = (devices?: ReportDevice[]): Report => ({
  model: 'test',
  recipe: {},
  machine: { cpu: 'test', threads: 1, engine: 'test' },
  stages: [
    { stage: 'dense', precision: 'fp32', parameters: 1, macs: 1, bytes: 1, file: 'dense/deploy.onnx' },
  ],
  artifacts: [{ format: 'tflite', file: 'artifacts/model.tflite', bytes: 1 }],
  ...(devices ? { devices } : {}),
});

const device = (name: string, ...cells: ReportDeviceCell[]): ReportDevice => ({
  ...{ name, userAgent: '', cores: 1, isolated: true, relaxedSimd: true, measuredAt: '', cells },
});

beforeEach(() => {
  rmSync(at('run'), { recursive: true, force: true });
  for (const folder of ['dense', 'artifacts', 'lab', 'pruned'])
    mkdirSync(at('run', folder), { recursive: true });
  for (const file of [
    'dense/deploy.onnx',
    'artifacts/model.tflite',
    'lab/dense.tflite',
    'pruned/deploy.onnx',
  ])
    writeFileSync(at('run', file), file);
});

const same = (file: string, more: Partial<ReportDeviceCell> = {}) => cell(file, file, more);

it('keeps what was measured of files with the same bytes, and names the others', async () => {
  const source = { file: 'dense/deploy.onnx', sha256: sha256('dense/deploy.onnx') };
  const other = { ...source, sha256: sha256('other weights') };
  const right = [
    same('dense/deploy.onnx'),
    same('artifacts/model.tflite', { how: 'other' }),
    same('lab/dense.tflite', { madeFrom: source }),
  ];
  const wrong = [
    cell('artifacts/model.tflite', 'what it was'),
    cell('dense/deploy.onnx', '', { sha256: undefined }),
    same('gone/deploy.onnx'),
    same('lab/dense.tflite', { madeFrom: other }),
    cell('lab/dense.tflite', 'what it was', { madeFrom: source }),
    same('pruned/deploy.onnx'),
  ];
  await writeReport(at('run'), report([device('a', ...right, ...wrong), device('b', wrong[0]!)]), false);
  const { devices, note } = await keptDevices(at('run'), report());
  expect(devices).toEqual([device('a', ...right)]);
  expect(note).toBe(
    'devices of the earlier report: 3 measurements kept, 7 dropped, whose files are others now: ' +
      'artifacts/model.tflite, dense/deploy.onnx, gone/deploy.onnx, lab/dense.tflite, pruned/deploy.onnx',
  );
});

it('has nothing to say where no device measured, or the report can not be read', async () => {
  const nothing = { devices: [], note: undefined };
  expect(await keptDevices(at('run'), report())).toEqual(nothing);
  await writeReport(at('run'), report(), false);
  expect(await keptDevices(at('run'), report())).toEqual(nothing);
  writeFileSync(at('run', 'report.json'), '{');
  expect(await keptDevices(at('run'), report())).toEqual(nothing);
});
