import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { writePickle } from '../src/checkpoint/torch/pickle.ts';
import { writeZip } from '../src/checkpoint/torch/zip.ts';
import { formatFile } from '../src/cli/format-file.ts';
import { exportModelFile } from '../src/export/export-file.node.ts';
import { Builder } from '../src/graph/builder.ts';
import { Graph } from '../src/graph/graph.ts';
import { Tensor } from '../src/graph/tensor.ts';
import { concatenate, writeOnnx } from '../src/onnx/write.ts';
import { inspectFile, runtimeFormat } from '../src/pipeline/commands/inspect-file.node.ts';
import { onnxruntime } from '../src/runtime/onnxruntime.node.ts';
import { loadModel } from '../src/zoo/load.node.ts';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();
const seeds = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i + 1) / 4);

/** A classifier of ten classes that says nothing of itself, around an op that can't be trained or written for PyTorch. */
function foreign(): Uint8Array {
  const graph = new Graph('foreign');
  graph.opsets.set('', 17);
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 1, 28, 28]);
  const rows = b.op('Flatten', [x], { axis: 1 });
  const weight = (name: string, shape: number[]) =>
    graph.addConstant(name, Tensor.float32(shape, seeds(shape[0]! * shape[1]!)));
  const hidden = b.op('Relu', [b.op('MatMul', [rows, weight('first', [784, 16])])]);
  graph.outputs.push(b.op('Hardmax', [b.op('MatMul', [hidden, weight('second', [16, 10])])]));
  return writeOnnx(graph);
}

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  writeFileSync(at('foreign.onnx'), foreign());
});

it('tells what a model is and what can be done with it', async () => {
  const { stdout } = await pqv('inspect', at('model'));
  expect(stdout).toMatch(/timm's \w+\.VisionTransformer/);
  expect(stdout).toMatch(/images +28 x 28, grey, .*mean/);
  expect(stdout).toMatch(/finetune +yes/);
  expect(stdout).toMatch(/export +onnx, ort, torchscript, ptl\n/);
  expect(stdout).not.toMatch(/ASSUMED/);
});

it('names what it assumed, and every op that stands in the way with its node', async () => {
  const { stdout } = await pqv('inspect', at('foreign.onnx'));
  expect(stdout).toMatch(/^imported graph\n/);
  expect(stdout).toMatch(/images .*ASSUMED/);
  expect(stdout).toMatch(/finetune +no: no gradient of Hardmax \(Hardmax "/);
  expect(stdout).toMatch(/not torchscript or ptl: no form of Hardmax \(Hardmax "/);
  const found = JSON.parse((await pqv('inspect', at('foreign.onnx'), '--json')).stdout);
  expect(found).toMatchObject({
    preprocessing: { from: 'assumed' },
    can: { train: { obstacles: [{ op: 'Hardmax', nodes: 1 }] }, int8: { layers: 2 } },
  });
});

it('prepares images as it is told, and says so; what was assumed stays an assumption in what is made of it', async () => {
  const data = ['--data', 'mnist', '--samples', '16'];
  const assumed = await pqv('eval', at('foreign.onnx'), ...data);
  expect(assumed.stderr).toMatch(/images: .*ASSUMED/);
  const reading = ['--mean', '0.25', '--std', '0.5', '--interpolation', 'bilinear', '--crop-pct', '1'];
  const told = await pqv('eval', at('foreign.onnx'), ...data, ...reading);
  expect(told.stderr).toMatch(/images: 28 x 28, grey, bilinear, centre crop of 100 %, mean 0.25, std 0.5\n/);
  expect(told.stdout).not.toBe(assumed.stdout);

  for (const [folder, given, from] of [
    ['pruned', [], 'assumed'],
    ['told', reading, 'given'],
  ] as const) {
    const made = await pqv('prune', at('foreign.onnx'), '-o', at(folder), '--ratio', '0.25', ...given);
    expect(made).toMatchObject({ code: 0 });
    const { preprocessing } = JSON.parse((await pqv('inspect', at(folder), '--json')).stdout);
    expect(preprocessing.from).toBe(from);
    rmSync(at(folder), { recursive: true });
  }
});

it('refuses numbers that do not fit', async () => {
  const two = await pqv('inspect', at('model'), '--mean', '0.1,0.2');
  expect(two).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/mean is \[0\.1,0\.2\]; the input has 1/),
  });
  const zero = await pqv('inspect', at('model'), '--std', '0');
  expect(zero).toMatchObject({ code: 2, stderr: expect.stringMatching(/--std.*number above 0/i) });
});

it('takes the preprocessing and the names of the classes from the files beside a model', async () => {
  mkdirSync(at('export', 'onnx'), { recursive: true });
  writeFileSync(at('export', 'onnx', 'model.onnx'), foreign());
  const names = Array.from({ length: 10 }, (_, i) => `kind ${i}`);
  const config = { model_type: 'vit', id2label: Object.fromEntries(names.map((name, i) => [i, name])) };
  const preprocessor = { size: 28, image_mean: [0.25], image_std: [0.5], resample: 2 };
  writeFileSync(at('export', 'config.json'), JSON.stringify(config));
  writeFileSync(at('export', 'preprocessor_config.json'), JSON.stringify(preprocessor));
  const told = {
    preprocessing: { mean: [0.25], interpolation: 'bilinear', from: 'config' },
    classNames: names,
  };
  const inspected = async () =>
    JSON.parse((await pqv('inspect', at('export', 'onnx', 'model.onnx'), '--json')).stdout);
  expect(await inspected()).toMatchObject(told);

  const timm = { label_names: names, pretrained_cfg: { mean: [0.1], std: [0.2], interpolation: 'bicubic' } };
  rmSync(at('export', 'preprocessor_config.json'));
  writeFileSync(at('export', 'config.json'), JSON.stringify(timm));
  expect(await inspected()).toMatchObject({
    preprocessing: { mean: [0.1], std: [0.2], from: 'config' },
    classNames: names,
  });

  writeFileSync(at('export', 'config.json'), '{');
  const broken = await pqv('inspect', at('export', 'onnx', 'model.onnx'));
  expect(broken).toMatchObject({ code: 2, stderr: expect.stringMatching(/config\.json is not JSON/) });
});

describe('files for runtimes', () => {
  it('tells what a .tflite file says of itself, and whether its card is of it', async () => {
    const path = at('m.tflite');
    await exportModelFile(onnxruntime, await loadModel(at('model')), 'tflite', path);
    const { stdout } = await pqv('inspect', path);
    expect(stdout).toMatch(/^ +input +pixel_values {2}float32 \[1, 28, 28, 1\]$/m);
    expect(stdout).toMatch(/^ +output +logits {2}float32 \[1, 10\]/m);
    expect(stdout).toMatch(/^ +images +28 x 28, grey, /m);
    expect(stdout).toMatch(/^ +card +m\.tflite\.json fits: fp32, takes pixel_values /m);
    expect(stdout).toMatch(/golden sample: best \d/);
    expect(stdout).toMatch(/^FULLY_CONNECTED +9$/m);

    const bytes = readFileSync(path);
    expect(await inspectFile(path, runtimeFormat(path)!)).toMatchObject({
      format: 'tflite',
      bytes: bytes.length,
      contents: {
        operators: { FULLY_CONNECTED: 9, SOFTMAX: 2 },
        model: { preprocessing: { from: 'model' } },
      },
      card: { fits: true, golden: { top5: expect.any(Array) } },
    });

    writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(1)]));
    const changed = await inspectFile(path, runtimeFormat(path)!);
    expect(formatFile(changed)).toMatch(/card +m\.tflite\.json is of another file/);
    writeFileSync(path, bytes.subarray(0, bytes.length / 2));
    expect(await pqv('inspect', path)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^pqv: error: .*m\.tflite is truncated or damaged: [^\n]*\n$/),
    });
  });

  it('looks into .ort files, and tells files of PyTorch from weights', async () => {
    const model = await loadModel(at('model'));
    for (const [format, name] of [
      ['ort', 'm.ort'],
      ['ptl', 'm.ptl'],
      ['torchscript', 'm.pt'],
    ] as const) {
      await exportModelFile(onnxruntime, model, format, at(name));
      const found = await inspectFile(at(name), runtimeFormat(at(name))!);
      expect(found).toMatchObject({ format, card: { fits: true, classNames: null } });
      expect(found.contents).toMatchObject({
        weights: expect.arrayContaining([expect.objectContaining({ dtype: 'float32', scales: null })]),
        model: { preprocessing: { inputSize: [1, 28, 28] } },
      });
      if (format === 'ptl')
        expect(found.contents!.operators).toMatchObject({ 'aten::softmax': 2, 'aten::linear': 9 });
      if (format !== 'ort') continue;
      expect(found.contents).toMatchObject({
        inputs: [{ name: 'pixel_values', dtype: 'float32', shape: ['N', 1, 28, 28] }],
        outputs: [{ name: 'logits' }],
        operators: { Conv: 1, Softmax: 2 },
      });
    }
    writeFileSync(
      at('weights.pt'),
      concatenate([...writeZip([{ name: 'w/data.pkl', bytes: () => writePickle(new Map()) }])]),
    );
    expect(runtimeFormat(at('weights.pt'))).toBeUndefined();
  });

  it('says in one line what is none, and what is for models', async () => {
    for (const [name, line] of [
      ['odd.ptl', /odd\.ptl is no file for PyTorch Lite/],
      ['odd.ort', /odd\.ort is no ORT file/],
    ] as const) {
      writeFileSync(at(name), 'nonsense, longer than eight bytes');
      await expect(inspectFile(at(name), runtimeFormat(at(name))!)).rejects.toThrow(line);
    }
    const { code, stderr } = await pqv('inspect', at('odd.ort'), '--groups');
    expect(stderr).toMatch(
      /^pqv: error: --groups is for models, and .*odd\.ort is a file for a runtime[^\n]*\n$/,
    );
    expect(code).toBe(2);
  });
});

describe('--groups', () => {
  it('tells blocks that are alike once, and with --all each', async () => {
    const { stdout } = await pqv('inspect', at('model'), '--groups');
    expect(stdout).toMatch(/^group +times +each +MACs each +share$/m);
    expect(stdout).toMatch(/^blocks\.0-1\.mlp\.fc1 +2 +\d+ channels +[\d.]+ k +[\d.]+ %$/m);
    expect(stdout).toMatch(/^blocks\.0-1\.attn\.qkv +2 +\d+ heads? x \d+ dimensions /m);
    expect(stdout).toMatch(
      /^ {2}made by +patch_embed\.proj\.weight\[0\], blocks\.0-1\.attn\.proj\.weight\[0\], /m,
    );
    const { stdout: all } = await pqv('inspect', at('model'), '--groups', '--all');
    expect(all).toMatch(/^blocks\.1\.mlp\.fc1 +1 +/m);
    expect(all).not.toMatch(/blocks\.0-1\.mlp\.fc1 /);
  });

  it('names what stays, and why', async () => {
    const { stdout } = await pqv('inspect', at('model'), '--groups');
    expect(stdout).toMatch(/^stays whole +what +why$/m);
    expect(stdout).toMatch(/^head +\d+ outputs +the model returns what it makes \(logits\)$/m);
    const foreignGroups = await pqv('inspect', at('foreign.onnx'), '--groups');
    expect(foreignGroups.stdout).toMatch(/^second +10 outputs +.*\(.+\)$/m);
  });

  it('as JSON has each group with fields that stay', async () => {
    const { groups, leftWhole, macs } = JSON.parse(
      (await pqv('inspect', at('model'), '--groups', '--json')).stdout,
    );
    const [embedding] = groups;
    expect(Object.keys(embedding).sort()).toEqual(
      'constraints couples headDims heads kept kind macs macsShare name parameters pattern residual units'.split(
        ' ',
      ),
    );
    expect(embedding.macs).toBeCloseTo(embedding.macsShare * macs, 3);
    expect(Object.keys(embedding.couples[0]).sort()).toEqual([
      'axis',
      'indices',
      'length',
      'parameter',
      'role',
    ]);
    expect(Object.keys(leftWhole[0]).sort()).toEqual(['at', 'channels', 'kind', 'name', 'side', 'why']);
  });

  it('--html writes a page that needs nothing else', async () => {
    expect(await pqv('inspect', at('model'), '--html', at('groups.html'))).toMatchObject({ code: 0 });
    const page = readFileSync(at('groups.html'), 'utf8');
    expect(page).toContain('default-src &#39;none&#39;');
    expect(page).not.toMatch(/<script|https?:/);
    const folder = await pqv('inspect', at('model'), '--html', at('model'));
    expect(folder).toMatchObject({ code: 2, stderr: expect.stringMatching(/can't write .*model/) });
  });
});
