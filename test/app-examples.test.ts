import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Card, fitted, goldenPixels, isGolden, toInput } from '../examples/app-card.ts';
import { evalPreparation } from '../src/dataset/prepare.ts';
import { createResampler } from '../src/dataset/resample.ts';
import { exportModelFile, type FileCard, type Graph, loadModel, onnxruntime, Random } from '../src/node.ts';
import { scratch } from './command.ts';

const at = scratch();
let model: Graph;
let card: FileCard & Card;

beforeAll(async () => {
  model = await loadModel('examples/cifar10_vit');
  await exportModelFile(onnxruntime, model, 'onnx', at('model.onnx'));
  card = JSON.parse(readFileSync(at('model.onnx.json'), 'utf8'));
});

const picture = <C extends number>(width: number, height: number, channels: C) => {
  const random = new Random(width);
  return {
    width,
    height,
    channels,
    data: Uint8Array.from({ length: width * height * channels }, () => random.below(256)),
  };
};

describe('what the examples do with a card', () => {
  it.each([
    ['bicubic', 'center', 0.9],
    ['bilinear', 'squash', 1],
    ['bicubic', 'border', 1],
    ['bilinear', 'center', 1],
  ] as const)(
    'prepares images as the model learned them: %s, %s, %d',
    async (interpolation, cropMode, cropPct) => {
      const preprocessing = { ...card.image!.preprocessing, interpolation, cropMode, cropPct };
      const other: Card = { ...card, image: { ...card.image!, preprocessing } };
      const prepare = evalPreparation(preprocessing, createResampler(onnxruntime));
      for (const [width, height] of [
        [90, 61],
        [20, 24],
      ] as const) {
        const image = picture(width, height, 3);
        const expected = new Float32Array(3 * 32 * 32);
        await prepare(image, expected);
        const found = toInput(other, fitted(other, image)) as Float32Array;
        const [scale] = card.image!.scale;
        // A grey level where one axis is rounded before the other.
        const off = found.map((value, i) => Math.abs(value - expected[i]!) / scale!);
        expect(off.reduce((most, one) => Math.max(most, one))).toBeLessThan(2.5);
      }
    },
  );

  it('does not look at alpha', () => {
    const { width, height, data } = picture(40, 40, 3);
    const rgba = Uint8Array.from({ length: width * height * 4 }, (_, i) =>
      i % 4 === 3 ? 7 : data[Math.floor(i / 4) * 3 + (i % 4)]!,
    );
    expect(toInput(card, fitted(card, { width, height, channels: 4, data: rgba }))).toEqual(
      toInput(card, fitted(card, { width, height, channels: 3, data })),
    );
  });

  it('notices scores that are not the golden ones', () => {
    const scores = new Float32Array(10);
    expect(isGolden(card, scores)).toBe(false);
    for (const { index, score } of card.golden!.top5) scores[index] = score;
    expect(isGolden(card, scores)).toBe(true);
    expect(goldenPixels(card)).toMatchObject({ width: 32, height: 32, channels: 3 });
  });
});

/** Bundles an example as an app would. */
async function bundled(entry: string, options: { external?: string[]; alias?: Record<string, string> } = {}) {
  const { outputFiles } = await build({
    entryPoints: [join('examples', entry)],
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    write: false,
    logLevel: 'silent',
    ...options,
  });
  return outputFiles[0]!.text;
}

it.each([
  ['web-litert/main.ts', '@litertjs/core'],
  ['web-onnxruntime/main.ts', 'onnxruntime-web/wasm'],
  ['react-native-fast-tflite/classifier.ts', 'react-native-fast-tflite'],
  ['react-native-onnxruntime/classifier.ts', 'onnxruntime-react-native'],
])('%s is bundled', async (entry, engine) => {
  expect(await bundled(entry, { external: [engine] })).toContain(engine);
});

it('react-native-onnxruntime tests itself and answers, on the same interface of onnxruntime-node', async () => {
  const node = pathToFileURL(join(process.cwd(), 'node_modules/onnxruntime-node/dist/index.js')).href;
  const text = await bundled('react-native-onnxruntime/classifier.ts', {
    external: ['onnxruntime-react-native'],
  });
  const named = text.replace(
    /import \{([^}]*)\} from "onnxruntime-react-native";/,
    (_, names) => `import ort from ${JSON.stringify(node)}; const {${names.replaceAll(' as ', ': ')}} = ort;`,
  );
  writeFileSync(at('classifier.mjs'), named);
  const { openClassifier } = await import(pathToFileURL(at('classifier.mjs')).href);
  const classifier = await openClassifier(at('model.onnx'), card);
  const best = await classifier(picture(64, 48, 4));
  expect(best).toHaveLength(5);
  expect(card.classNames).toContain(best[0].name);
  const broken = { ...card, golden: { ...card.golden!, top5: [{ index: 0, score: 1e3 }] } };
  await expect(openClassifier(at('model.onnx'), broken)).rejects.toThrow(/golden sample/);
});
