import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { prune } from './prune.ts';
import { solvedSymmetric } from './solve.ts';

const [inputs, hidden, outputs, images] = [4, 12, 3, 40];
const random = new Random(5);
const numbers = (count: number) => Float32Array.from({ length: count }, () => random.normal());
const fc1 = numbers(hidden * inputs);
const fc2 = numbers(outputs * hidden);
// The last unit says the same of every image, and so little that it goes first.
fc1.fill(0, (hidden - 1) * inputs);
for (let row = 0; row < outputs; row++) fc2[row * hidden + hidden - 1]! *= 0.01;
const biases = { fc1: numbers(hidden), fc2: numbers(outputs) };
biases.fc1[hidden - 1] = 30;
const pixels = numbers(images * inputs);

/** fc1, ReLU, fc2. @param bias whether fc2 has one */
function network(bias = true): Graph {
  const graph = new Graph('mlp');
  const b = new Builder(graph);
  const linear = (x: Value, name: 'fc1' | 'fc2', weight: Float32Array, shape: number[]) => {
    const product = b.op('MatMul', [
      x,
      b.op('Transpose', [graph.addConstant(`${name}.weight`, Tensor.float32(shape, weight))], {
        perm: [1, 0],
      }),
    ]);
    if (name === 'fc2' && !bias) return product;
    const added = Tensor.float32([shape[0]!], biases[name]);
    return b.op('Add', [product, graph.addConstant(`${name}.bias`, added)]);
  };
  const x = graph.addInput('x', 'float32', ['N', inputs]);
  graph.outputs.push(
    linear(b.op('Relu', [linear(x, 'fc1', fc1, [hidden, inputs])]), 'fc2', fc2, [outputs, hidden]) as never,
  );
  return graph;
}

async function* data() {
  for (const [start, end] of [
    [0, 16],
    [16, 40],
  ] as const) {
    yield {
      pixels: Tensor.float32([end - start, inputs], pixels.slice(start * inputs, end * inputs)),
      labels: Tensor.int64([]),
    };
  }
}

/** What the hidden units say of an image. */
const unitsOf = (image: number): number[] =>
  Array.from({ length: hidden }, (_, unit) => {
    let sum = biases.fc1[unit]!;
    for (let i = 0; i < inputs; i++) sum += fc1[unit * inputs + i]! * pixels[image * inputs + i]!;
    return Math.max(0, sum);
  });
const x = Array.from({ length: images }, (_, image) => unitsOf(image));

async function pruned(how: 'mean' | 'ridge', ratio: number) {
  const { graph, kept } = await prune(onnxruntime, network(), { ratio, compensate: how }, data());
  const stays = kept['fc2.weight']!['1']!;
  const floats = (name: string) => graph.constants.get(name)!.tensor!.floats;
  const [weight, bias] = [floats('fc2.weight'), floats('fc2.bias')];
  const y = x.map((units) => stays.map((unit) => units[unit]!));
  /** What is missing of each output for an image. */
  const errors = x.map((units, image) =>
    Array.from({ length: outputs }, (_, row) => {
      const dense = units.reduce((sum, value, i) => sum + fc2[row * hidden + i]! * value, biases.fc2[row]!);
      return y[image]!.reduce(
        (sum, value, i) => sum - weight[row * stays.length + i]! * value,
        dense - bias[row]!,
      );
    }),
  );
  return { stays, weight, y, errors };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

describe('compensation', () => {
  it('mean: what is the same for all images is not missed', async () => {
    const { stays, weight, errors } = await pruned('mean', 1 / hidden);
    expect(stays).not.toContain(hidden - 1);
    for (const error of errors.flat()) expect(Math.abs(error)).toBeLessThan(1e-4);
    stays.forEach((unit, i) => {
      expect(weight[i]).toBe(fc2[unit]);
    });
  });

  it.each(['mean', 'ridge'] as const)('%s: outputs are right on average', async (how) => {
    const { errors } = await pruned(how, 0.5);
    for (let row = 0; row < outputs; row++) {
      expect(Math.abs(mean(errors.map((error) => error[row]!)))).toBeLessThan(1e-5);
    }
  });

  it('ridge: no other weights have less error and penalty', async () => {
    const { stays, weight, y, errors } = await pruned('ridge', 0.5);
    const centers = stays.map((_, j) => mean(y.map((units) => units[j]!)));
    const variance = mean(stays.map((_, j) => mean(y.map((units) => (units[j]! - centers[j]!) ** 2))));
    for (let row = 0; row < outputs; row++) {
      stays.forEach((unit, j) => {
        const slope = mean(errors.map((error, image) => error[row]! * y[image]![j]!));
        const moved = weight[row * stays.length + j]! - fc2[row * hidden + unit]!;
        expect(slope - 0.01 * variance * moved).toBeCloseTo(0, 4);
      });
    }
  });

  it('ridge: of images that are all alike it is the mean', async () => {
    const same = async function* () {
      const one = pixels.slice(0, inputs);
      yield {
        pixels: Tensor.float32([2, inputs], Float32Array.from([...one, ...one])),
        labels: Tensor.int64([]),
      };
    };
    const { graph, kept } = await prune(onnxruntime, network(), { ratio: 0.5, compensate: 'ridge' }, same());
    const found = graph.constants.get('fc2.weight')!.tensor!.floats;
    const stays = kept['fc2.weight']!['1']!;
    expect([...found]).toEqual(
      Array.from({ length: outputs }, (_, row) => stays.map((unit) => fc2[row * hidden + unit]!)).flat(),
    );
    expect(graph.constants.get('fc2.bias')!.tensor!.floats.every(Number.isFinite)).toBe(true);
  });

  it('leaves a bias alone that another layer reads too', async () => {
    const graph = network();
    const bias = graph.constants.get('fc2.bias')!;
    const b = new Builder(graph);
    graph.outputs.push(b.op('Add', [graph.outputs[0]!, bias]) as never);
    const result = await prune(onnxruntime, graph, { ratio: 0.5, compensate: 'ridge' }, data());
    expect([...result.graph.constants.get('fc2.bias')!.tensor!.floats]).toEqual([...biases.fc2]);
  });

  it('says that there are no images', async () => {
    const none = async function* () {};
    const asked = prune(onnxruntime, network(), { ratio: 0.5, compensate: 'mean' }, none());
    await expect(asked).rejects.toThrow(UserError);
  });

  it('says which layers have nothing to put it in, and needs images', async () => {
    const notes: string[] = [];
    const progress = {
      task: () => ({ update: () => {}, done: () => {} }),
      note: (line: string) => notes.push(line),
    };
    await prune(onnxruntime, network(false), { ratio: 0.5, compensate: 'mean' }, data(), progress);
    expect(notes).toContainEqual(expect.stringMatching(/^not compensated.*: fc2\.weight$/));
    await expect(prune(onnxruntime, network(), { ratio: 0.5, compensate: 'ridge' })).rejects.toThrow(
      UserError,
    );
  });
});

it('solves a symmetric system', () => {
  const n = 7;
  const root = Array.from({ length: n * n }, () => random.normal());
  const a = Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    return Array.from({ length: n }, (_, k) => root[i * n + k]! * root[j * n + k]!).reduce(
      (s, v) => s + v,
      0,
    );
  });
  const b = Float64Array.from({ length: n * 2 }, () => random.normal());
  const { data: found } = solvedSymmetric({ columns: n, data: a }, 0.5, { columns: 2, data: b });
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 2; c++) {
      let sum = 0.5 * found[i * 2 + c]!;
      for (let k = 0; k < n; k++) sum += a[i * n + k]! * found[k * 2 + c]!;
      expect(sum).toBeCloseTo(b[i * 2 + c]!, 9);
    }
  }
});
