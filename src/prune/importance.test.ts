import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../checkpoint/safetensors.node.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { buildVisionTransformer } from '../zoo/families/vision-transformer/build.ts';
import { findGroups } from './groups.ts';
import { type Importance, scoredParameters, scoreGroups } from './importance.ts';
import { prune } from './prune.ts';
import { meanSquaredGradients, summedGradients } from './sensitivity.ts';

const golden = (name: string) => new URL(`golden/${name}`, import.meta.url).pathname;
const facts = JSON.parse(readFileSync(golden('torch-pruning.json'), 'utf8'));
const { tensors } = openSafetensors(golden('vit.safetensors'));
const pixels = tensors.get('pixels')!;
const build = (args = {}) =>
  buildVisionTransformer(
    { in_chans: 3, ...facts.args, img_size: [16, 16], patch_size: [8, 8], ...args },
    (name) => tensors.get(name)!,
  );

async function* images(batchSize: number, count = 4) {
  const size = pixels.size / 4;
  for (let start = 0; start < count; start += batchSize) {
    const end = Math.min(count, start + batchSize);
    yield {
      pixels: Tensor.float32([end - start, 3, 16, 16], pixels.floats.slice(start * size, end * size)),
      labels: Tensor.int64(facts.labels.slice(start, end)),
    };
  }
}

describe('importance', () => {
  for (const importance of ['l1', 'l2', 'taylor', 'hessian'] as Importance[]) {
    it(`${importance} removes what Torch-Pruning removes`, async () => {
      const graph = build();
      // Torch-Pruning keeps the last sample only, so the Hessian is compared on one.
      const data = importance === 'hessian' ? images(1, 1) : images(2);
      const { kept } = await prune(
        onnxruntime,
        graph,
        { importance, ratio: facts.ratio, headDims: 'tied' },
        data,
      );
      for (const [layer, removed] of Object.entries<number[]>(facts.removed[importance])) {
        const { shape } = graph.constants.get(`${layer}.weight`)!.tensor!;
        const stays = new Set(kept[`${layer}.weight`]!['0']);
        expect([...Array(shape[0]).keys()].filter((i) => !stays.has(i))).toEqual(removed);
      }
    });
  }

  it('fpgm is the sum of the distances of weights, lamp what l2 is of the sum of what is no less', async () => {
    const graph = build();
    const [group] = findGroups(graph).groups.filter(({ name }) => name === 'blocks.0.mlp.fc1');
    const [fc1, fc2] = ['fc1', 'fc2'].map((name) => tensors.get(`blocks.0.mlp.${name}.weight`)!);
    const [hidden, width] = fc1!.shape as [number, number];
    const row = (i: number) => [...fc1!.floats.subarray(i * width, (i + 1) * width)];
    const column = (i: number) => Array.from({ length: width }, (_, j) => fc2!.floats[j * hidden + i]!);
    const units = [...Array(hidden).keys()];
    const apart = (a: number[], b: number[]) => Math.hypot(...a.map((value, k) => value - b[k]!));
    const distances = units.map((i) =>
      units.reduce((sum, j) => sum + apart(row(i), row(j)) + apart(column(i), column(j)), 0),
    );
    const squares = units.map((i) => [...row(i), ...column(i)].reduce((sum, value) => sum + value ** 2, 0));
    const expected = {
      fpgm: distances.map((value) => value / (distances.reduce((a, b) => a + b) / hidden)),
      lamp: squares.map(
        (value) => value / squares.filter((other) => other >= value).reduce((a, b) => a + b, 0),
      ),
    };
    for (const [importance, values] of Object.entries(expected)) {
      const [found] = await scoreGroups(onnxruntime, [group!], { importance: importance as Importance });
      for (const i of units) expect(found![i]).toBeCloseTo(values[i]!, 5);
    }
  });

  it('of a model without a classifier is by half the mean square of its outputs', async () => {
    const graph = new Graph('features');
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', ['N', 3, 16, 16]);
    const rows = b.op('ReduceMean', [x, Tensor.int64([2, 3])], { keepdims: 0 });
    const matrix = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i));
    const weight = graph.addConstant('w', Tensor.float32([3, 4], matrix));
    graph.outputs.push(b.op('MatMul', [rows, weight], {}, 'features'));
    const means = Array.from({ length: 4 }, (_, n) =>
      [0, 1, 2].map((c) => pixels.floats.subarray((n * 3 + c) * 256, (n * 3 + c + 1) * 256)),
    ).map((image) => image.map((channel) => channel.reduce((sum, value) => sum + value, 0) / 256));
    const outputs = means.map((row) =>
      [0, 1, 2, 3].map((j) => row.reduce((sum, value, i) => sum + value * matrix[4 * i + j]!, 0)),
    );
    const gradient = (n: number, i: number, j: number) => (means[n]![i]! * outputs[n]![j]!) / 4;
    const summed = (await summedGradients(onnxruntime, graph, [weight], images(4))).get(weight)!;
    const squared = (await meanSquaredGradients(onnxruntime, graph, [weight], images(2))).get(weight)!;
    const all = [0, 1, 2, 3];
    for (let i = 0; i < 3; i++) {
      for (const j of all) {
        const mean = all.reduce((sum, n) => sum + gradient(n, i, j), 0) / 4;
        const square = all.reduce((sum, n) => sum + gradient(n, i, j) ** 2, 0) / 4;
        expect(summed.floats[4 * i + j]).toBeCloseTo(mean, 5);
        expect(squared.floats[4 * i + j]).toBeCloseTo(square, 5);
      }
    }
  });

  it('a unit of average importance has score 1', async () => {
    const { groups } = findGroups(build());
    for (const scores of await scoreGroups(onnxruntime, groups, { importance: 'l2' })) {
      expect(scores.reduce((a, b) => a + b) / scores.length).toBeCloseTo(1, 6);
    }
  });
});

/** The mean cross-entropy of one image, by the engine. */
async function lossOf(graph: Graph, image: number): Promise<number> {
  const { graph: copy } = graph.clone();
  const b = new Builder(copy);
  copy.outputs[0] = b.op('LogSoftmax', [copy.outputs[0]!], { axis: -1 });
  const size = pixels.size / 4;
  const feeds = {
    pixel_values: Tensor.float32([1, 3, 16, 16], pixels.floats.slice(image * size, (image + 1) * size)),
  };
  const [log] = Object.values(await runOnce(onnxruntime, copy, feeds, { threads: 1 }));
  return -log!.floats[facts.labels[image]]!;
}

describe('mean squared gradients', () => {
  const squaresOf = (graph: Graph, batchSize: number) =>
    meanSquaredGradients(onnxruntime, graph, scoredParameters(findGroups(graph).groups), images(batchSize));

  it('are those of finite differences', async () => {
    const graph = build();
    const squares = await squaresOf(graph, 4);
    const step = 1e-2;
    for (const name of [
      'patch_embed.proj.weight',
      'blocks.0.norm1.weight',
      'blocks.0.mlp.fc2.weight',
      'head.weight',
    ]) {
      const value = graph.constants.get(name)!;
      const dense = value.tensor!;
      const found = squares.get(value)!.floats;
      const at = found.indexOf(Math.max(...found));
      let expected = 0;
      for (let image = 0; image < 4; image++) {
        const moved = async (by: number) => {
          const data = dense.floats.slice();
          data[at]! += by;
          graph.setConstant(value, Tensor.float32(dense.shape, data));
          return lossOf(graph, image);
        };
        expected += (((await moved(step)) - (await moved(-step))) / (2 * step)) ** 2 / 4;
      }
      graph.setConstant(value, dense);
      expect(found[at]! / expected).toBeCloseTo(1, 1);
    }
  });

  it('do not depend on the batch size', async () => {
    const graph = build();
    const [whole, parts] = [await squaresOf(graph, 4), await squaresOf(graph, 3)];
    for (const [value, tensor] of whole) {
      const other = parts.get(value)!.floats;
      const largest = Math.max(...tensor.floats);
      expect(Math.max(...tensor.floats.map((x, i) => Math.abs(x - other[i]!))) / largest).toBeLessThan(1e-4);
    }
  });

  it('go image by image where a weight is shared, to the same result', async () => {
    const shared = build();
    const value = shared.constants.get('head.weight')!;
    const expected = (await squaresOf(shared, 4)).get(value)!.floats;
    const b = new Builder(shared);
    const unused = b.op('Mul', [b.op('ReduceSum', [value], { keepdims: 0 }), b.scalar(0)]);
    shared.outputs[0] = b.op('Add', [shared.outputs[0]!, unused], {}, 'with_reader');
    const again = await meanSquaredGradients(onnxruntime, shared, [value], images(4));
    expect(Math.max(...again.get(value)!.floats.map((x, i) => Math.abs(x - expected[i]!)))).toBeLessThan(
      1e-4 * Math.max(...expected),
    );
  });

  it('name a label that the model has no class for', async () => {
    async function* wrong() {
      yield {
        pixels: Tensor.float32([1, 3, 16, 16], pixels.floats.slice(0, 768)),
        labels: Tensor.int64([5]),
      };
    }
    const graph = build();
    const wanted = scoredParameters(findGroups(graph).groups);
    await expect(meanSquaredGradients(onnxruntime, graph, wanted, wrong())).rejects.toThrow(
      /label 5 is outside/,
    );
  });
});
