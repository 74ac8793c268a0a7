import { describe, expect, it } from 'vitest';
import { noise, parameterNoise } from '../../test/noise.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { buildVisionTransformer } from '../zoo/families/vision-transformer/build.ts';
import { findGroups } from './groups.ts';
import { type Importance, scoredParameters, scoreGroups } from './importance.ts';
import { inputNorms } from './input-norms.ts';
import { meanSquaredGradients, summedGradients } from './sensitivity.ts';

const args = { embed_dim: 24, depth: 1, num_heads: 3, mlp_ratio: 2, num_classes: 5 };
const classes = [1, 4, 0, 0];
const pixels = Tensor.float32([4, 3, 16, 16], Float32Array.from(noise('pixels', [4, 3, 16, 16])));
const build = () =>
  buildVisionTransformer({ in_chans: 3, img_size: [16, 16], patch_size: [8, 8], ...args }, parameterNoise);

async function* images(batchSize: number, count = 4) {
  const size = pixels.size / 4;
  for (let start = 0; start < count; start += batchSize) {
    const end = Math.min(count, start + batchSize);
    yield {
      pixels: Tensor.float32([end - start, 3, 16, 16], pixels.floats.slice(start * size, end * size)),
      labels: Tensor.int64(classes.slice(start, end)),
    };
  }
}

describe('importance', () => {
  it('fpgm is the sum of the distances of weights, lamp what l2 is of the sum of what is no less', async () => {
    const graph = build();
    const [group] = findGroups(graph).groups.filter(({ name }) => name === 'blocks.0.mlp.fc1');
    const [fc1, fc2] = ['fc1', 'fc2'].map(
      (name) => graph.constants.get(`blocks.0.mlp.${name}.weight`)!.tensor!,
    );
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

  it.each([
    ['taylor-squared', (terms: number[]) => terms.reduce((sum, term) => sum + term ** 2, 0)],
    ['taylor-multivariable', (terms: number[]) => Math.abs(terms.reduce((sum, term) => sum + term, 0))],
  ] as const)('%s is of the products of weights and gradients', async (importance, local) => {
    const graph = build();
    const groups = findGroups(graph).groups.filter(({ name }) => name === 'blocks.0.mlp.fc1');
    const sensitivities = await summedGradients(onnxruntime, graph, scoredParameters(groups), images(2));
    const terms = (name: string, at: (flat: number, columns: number) => number) => {
      const value = graph.constants.get(name)!;
      const products = value.tensor!.floats.map((w, i) => w * sensitivities.get(value)!.floats[i]!);
      const columns = value.tensor!.shape[1]!;
      return (unit: number) => [...products.filter((_, i) => at(i, columns) === unit)];
    };
    const rows = terms('blocks.0.mlp.fc1.weight', (flat, columns) => Math.floor(flat / columns));
    const columns = terms('blocks.0.mlp.fc2.weight', (flat, width) => flat % width);
    const [found] = await scoreGroups(onnxruntime, groups, { importance, sensitivities, normalizer: 'none' });
    for (const [unit, score] of found!.entries()) {
      expect(score / ((local(rows(unit)) + local(columns(unit))) / 2)).toBeCloseTo(1, 4);
    }
  });

  it('wanda is the sum of |w| times the norm of the input that it reads', async () => {
    const graph = new Graph('features');
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', ['N', 3, 16, 16]);
    const parameter = (name: string, shape: number[]) =>
      graph.addConstant(
        name,
        Tensor.float32(
          shape,
          Float32Array.from({ length: shape.reduce((p, d) => p * d) }, (_, i) => Math.sin(i + 1)),
        ),
      );
    const [first, second] = [parameter('conv.weight', [4, 3, 8, 8]), parameter('fc.weight', [5, 4])];
    const maps = b.op('Conv', [x, first], { strides: [8, 8] });
    const tokens = b.op('Transpose', [b.op('Reshape', [maps, b.ints([0, 4, 4])])], { perm: [0, 2, 1] });
    graph.outputs.push(b.op('MatMul', [tokens, b.op('Transpose', [second], { perm: [1, 0] })], {}, 'out'));
    const norms = await inputNorms(onnxruntime, graph, [first, second], images(3));
    const copy = graph.clone().graph;
    copy.outputs.push(copy.nodes.find(({ op }) => op === 'Conv')!.output());
    const outputs = Object.values(
      await runOnce(onnxruntime, copy, { x: Tensor.float32([4, 3, 16, 16], pixels.floats) }),
    );
    const normsOf = (tensor: Tensor, channels: number) => {
      const places = tensor.size / 4 / channels;
      return Array.from({ length: channels }, (_, channel) => {
        const squares = tensor.floats.filter((_, i) => Math.floor(i / places) % channels === channel);
        return Math.sqrt(squares.reduce((sum, value) => sum + value ** 2, 0) / 4);
      });
    };
    const ofImages = normsOf(pixels, 3);
    const ofMaps = normsOf(outputs[1]!, 4);
    norms.get(first)!.floats.forEach((norm, i) => {
      expect(norm).toBeCloseTo(ofImages[Math.floor(i / 64) % 3]!, 3);
    });
    norms.get(second)!.floats.forEach((norm, i) => {
      expect(norm).toBeCloseTo(ofMaps[i % 4]!, 3);
    });
    const { groups } = findGroups(graph);
    const [found] = await scoreGroups(onnxruntime, groups, {
      importance: 'wanda',
      sensitivities: norms,
      normalizer: 'none',
    });
    const total = (
      values: Float32Array,
      seen: (i: number) => number,
      unitOf: (i: number) => number,
      unit: number,
    ) => values.reduce((sum, value, i) => (unitOf(i) === unit ? sum + Math.abs(value) * seen(i) : sum), 0);
    for (const [unit, score] of found!.entries()) {
      const out = total(
        first.tensor!.floats,
        (i) => ofImages[Math.floor(i / 64) % 3]!,
        (i) => Math.floor(i / 192),
        unit,
      );
      const into = total(
        second.tensor!.floats,
        (i) => ofMaps[i % 4]!,
        (i) => i % 4,
        unit,
      );
      expect(score / ((out + into) / 2)).toBeCloseTo(1, 4);
    }
  });

  it('wanda knows which channel a grouped convolution reads', async () => {
    const graph = new Graph('grouped');
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', ['N', 4, 1, 1]);
    const weight = graph.addConstant('w', Tensor.float32([6, 2, 1, 1], new Float32Array(12).fill(1)));
    graph.outputs.push(b.op('Conv', [x, weight], { group: 2 }, 'out'));
    async function* one() {
      yield { pixels: Tensor.float32([1, 4, 1, 1], [1, -2, 3, -4]), labels: Tensor.int64([0]) };
    }
    const norms = await inputNorms(onnxruntime, graph, [weight], one());
    expect([...norms.get(weight)!.floats]).toEqual([1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4]);
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
  return -log!.floats[classes[image]!]!;
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
