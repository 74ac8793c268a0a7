import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import type { Batch } from '../dataset/dataset.ts';
import type { Batches } from '../dataset/loader.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { dropBetween } from './predictions.ts';
import { withinDrop } from './within-drop.ts';

/** A classifier of 4 x 4 images that says which of the first ten pixels is the largest, or, wrongly, the next for some classes. */
function classifier(wrong: readonly number[] = []): Graph {
  const graph = new Graph('classifier');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const x = graph.addInput('pixel_values', 'float32', ['N', 1, 4, 4]);
  const weight = new Float32Array(160);
  for (let i = 0; i < 10; i++) weight[10 * i + (wrong.includes(i) ? (i + 1) % 10 : i)] = 1;
  const flat = b.op('Reshape', [x, b.ints([-1, 16])]);
  graph.outputs.push(
    b.op('MatMul', [flat, graph.addConstant('w', Tensor.float32([16, 10], weight))], {}, 'logits'),
  );
  return graph;
}

/** Twenty images of each class, which all have their brightest pixel where their class is. */
function images(): Batches {
  const random = new Random(1);
  const pixels = Float32Array.from({ length: 200 * 16 }, () => random.below(100) / 100);
  for (let i = 0; i < 200; i++) pixels[16 * i + (i % 10)] = 2;
  const batch = {
    pixels: Tensor.float32([200, 1, 4, 4], pixels),
    labels: Tensor.int64(Array.from({ length: 200 }, (_, i) => i % 10)),
    ids: Array(200).fill(''),
  } as unknown as Batch;
  return {
    length: 1,
    images: 200,
    unreadable: [],
    async *[Symbol.asyncIterator]() {
      yield batch;
    },
  };
}

const layers = Array.from({ length: 9 }, (_, i) => `layer.${i}`);

/** As many classes wrong as layers of the worst five are quantized. */
async function within(allowed: number) {
  const tried: number[] = [];
  let ranked = 0;
  const result = await withinDrop(onnxruntime, classifier(), {
    allowed,
    of: 'top1',
    images: images(),
    async make(kept) {
      tried.push(kept.length);
      return classifier(layers.slice(0, 5).flatMap((name, i) => (kept.includes(name) ? [] : [i])));
    },
    async rank() {
      ranked++;
      return layers;
    },
  });
  return { ...result.drop, tried, ranked };
}

it('keeps as few of the worst layers as it takes', async () => {
  expect(await within(10)).toMatchObject({ points: 10, kept: layers.slice(0, 4), samples: 200, ranked: 1 });
  expect(await within(9.9)).toMatchObject({ points: 0, kept: layers.slice(0, 5) });
  expect(await within(35)).toMatchObject({ points: 30, kept: layers.slice(0, 2) });
});

it('tries no more than a bisection does, and ranks nothing where all hold', async () => {
  expect((await within(10)).tried.length).toBeLessThanOrEqual(1 + Math.ceil(Math.log2(layers.length)));
  expect(await within(50)).toMatchObject({ points: 50, kept: [], tried: [0], ranked: 0 });
});

it('says when nothing helps', async () => {
  const never = { images: images(), make: async () => classifier([0]), rank: async () => layers };
  await expect(
    withinDrop(onnxruntime, classifier(), { allowed: 1, of: 'agreement', ...never }),
  ).rejects.toThrow(/drop of 1 points does not hold, whichever of the 9 layers/);
});

it('a drop is of right answers or of the same ones', () => {
  const before = { predicted: [1, 2, 3, 4], labels: [1, 2, 0, 0] };
  const after = { predicted: [1, 0, 0, 4], labels: [1, 2, 0, 0] };
  expect(dropBetween(before, after, 'top1')).toBe(0);
  expect(dropBetween(before, after, 'agreement')).toBe(50);
});
