import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { scratch } from '../../test/command.ts';
import { silent } from '../common/progress.ts';
import { exportModelFile } from '../export/export-file.node.ts';
import type { Graph } from '../graph/graph.ts';
import { quantize } from '../library/quantize.ts';
import { writeReport } from '../report/files.node.ts';
import type { ReportStage } from '../report/schema.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { loadModel } from '../zoo/load.node.ts';
import { saveModel } from '../zoo/save.node.ts';
import { outputsOf } from './expectations.ts';
import { collectVariants } from './variants.node.ts';

const at = scratch();
const run = () => at('run');
const collecting = { engine: onnxruntime, progress: silent, tflite: false };

beforeAll(async () => {
  const dense = await loadModel('examples/mnist_vit');
  const int8 = await quantize(onnxruntime, dense, { dtype: 'int8' });
  const deploy = async (graph: Graph, stage: ReportStage['stage'], precision: ReportStage['precision']) => {
    saveModel(graph, at('run', stage));
    const { bytes } = await exportModelFile(onnxruntime, graph, 'onnx', at('run', stage, 'deploy.onnx'));
    return { stage, precision, parameters: 1, macs: 1, bytes, file: `${stage}/deploy.onnx` };
  };
  const stages = [await deploy(dense, 'dense', 'fp32'), await deploy(int8, 'quantized', 'int8')];
  mkdirSync(at('run', 'artifacts'));
  for (const end of ['', '.json']) {
    copyFileSync(at('run', 'quantized', `deploy.onnx${end}`), at('run', 'artifacts', `model.onnx${end}`));
  }
  const formats = ['tflite', 'ort'] as const;
  for (const format of formats) {
    await exportModelFile(onnxruntime, int8, format, at('run', 'artifacts', `model.${format}`));
  }
  const artifacts = ['onnx', ...formats].map((format) => ({
    format,
    file: `artifacts/model.${format}`,
    bytes: 1,
  }));
  const machine = { cpu: 'test', threads: 1, engine: 'test' };
  await writeReport(run(), { model: 'mnist', recipe: {}, machine, stages, artifacts });
});

it('collects what browsers load of a run, the same bytes once, and says what is left out', async () => {
  const { variants, leftOut } = await collectVariants([run()], collecting);
  expect(variants.map(({ name, file, precision }) => [name, file, precision])).toEqual([
    ['dense', 'dense/deploy.onnx', 'fp32'],
    ['int8', 'artifacts/model.onnx', 'int8'],
    ['int8', 'artifacts/model.tflite', 'int8'],
  ]);
  expect(leftOut).toEqual(['artifacts/model.ort: browsers load .onnx and .tflite files']);
});

it('writes LiteRT files of stages that have none', async () => {
  const { variants } = await collectVariants([run()], { ...collecting, tflite: true });
  expect(variants.map(({ file }) => file)).toContain('lab/dense.tflite');
  const written = readFileSync(at('run', 'lab', 'dense.tflite'));
  expect(written.subarray(4, 8).toString()).toBe('TFL3');
});

it('expects of every file what the float32 model gives', async () => {
  const { variants } = await collectVariants([run()], collecting);
  const [dense, onnx, tflite] = variants;
  const outputs = await outputsOf(onnxruntime, dense!, dense!.samples);
  for (const { expectation } of variants) {
    expect(expectation!.samples).toHaveLength(3);
    for (const [i, { values }] of expectation!.samples.entries()) {
      expect(values).toEqual([...outputs[i]!]);
    }
  }
  expect(dense!.expectation!.tolerance).toBe(1e-3);
  expect(onnx!.expectation!.tolerance).toBe(0.05);
  expect(tflite!.input.layout).toBe('NHWC');
  expect(tflite!.samples).toEqual(dense!.samples);
});

it('takes single files with their cards', async () => {
  const files = ['model.onnx', 'model.tflite'].map((name) => at('run', 'artifacts', name));
  const { variants } = await collectVariants(files, collecting);
  expect(variants.map(({ name, run }) => [name, run])).toEqual([
    ['model', undefined],
    ['model', undefined],
  ]);
  expect(variants[0]!.expectation!.from).toMatch(/^itself in onnxruntime/);
  expect(variants[1]!.expectation).toMatchObject({ from: 'the golden sample of its card' });
  expect(variants[1]!.expectation!.samples[0]!.indices).toHaveLength(5);
});

it('leaves out a file that is not what its card says', async () => {
  const path = at('other.onnx');
  copyFileSync(at('run', 'dense', 'deploy.onnx'), path);
  await expect(collectVariants([path], collecting)).rejects.toThrow(/it has no card, other\.onnx\.json/);
  copyFileSync(at('run', 'quantized', 'deploy.onnx.json'), `${path}.json`);
  await expect(collectVariants([path], collecting)).rejects.toThrow(/not the file that its card describes/);
});

it('leaves out what a report names outside of its run', async () => {
  mkdirSync(at('stranger'));
  const stage = (file: string) => ({
    stage: 'dense' as const,
    precision: 'fp32' as const,
    parameters: 1,
    macs: 1,
    bytes: 1,
    file,
  });
  symlinkSync(at('run', 'dense', 'deploy.onnx'), at('stranger', 'linked.onnx'));
  const stages = ['../run/dense/deploy.onnx', 'linked.onnx'].map(stage);
  const machine = { cpu: 'test', threads: 1, engine: 'test' };
  await writeReport(at('stranger'), { model: 'mnist', recipe: {}, machine, stages, artifacts: [] });
  await expect(collectVariants([at('stranger')], collecting)).rejects.toThrow(
    /deploy\.onnx: it is not in the run's folder; linked\.onnx: it is not in the run's folder/,
  );
});

it.each([
  ['what is not there', 'nowhere', /can't read .*nowhere: no such file or folder/],
  ['a folder without a report', '.', /report\.json/],
  ['a file of another kind', 'other.txt', /neither a run directory nor an \.onnx or \.tflite file/],
])('refuses %s', async (_, name, message) => {
  writeFileSync(at('other.txt'), '');
  await expect(collectVariants([at(name)], collecting)).rejects.toThrow(message);
});
