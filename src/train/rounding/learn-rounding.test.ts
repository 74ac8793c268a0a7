import { expect, it } from 'vitest';
import { silent } from '../../common/progress.ts';
import { Random } from '../../common/random.ts';
import { Builder } from '../../graph/builder.ts';
import { checkGraph } from '../../graph/check.ts';
import { Graph } from '../../graph/graph.ts';
import { linears } from '../../graph/linear.ts';
import { Tensor } from '../../graph/tensor.ts';
import { numbersOf } from '../../quantize/backends.ts';
import { blockLinears } from '../../quantize/block-linear.ts';
import { quantizeDynamic } from '../../quantize/dynamic.ts';
import { quantizeInt4 } from '../../quantize/int4.ts';
import { quantizedLayers } from '../../quantize/match-quantized.ts';
import { quantizeStatic } from '../../quantize/static.ts';
import { weightGrid } from '../../quantize/weight-grid.ts';
import { pairBound } from '../../quantize/weight-pairs.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { learnRounding } from './learn-rounding.ts';

const [width, hidden, outputs] = [40, 48, 6];
const random = new Random(5);
const numbers = (shape: readonly number[], make = () => random.normal()) =>
  Tensor.float32(shape, Float32Array.from({ length: shape.reduce((a, b) => a * b) }, make));
const mixing = numbers([4, width]);
/** Inputs that go together, as activations do: four things make them up, and a little besides. */
function inputs(count: number): Tensor {
  const causes = numbers([count, 4]).floats;
  return Tensor.float32(
    [count, width],
    Float32Array.from({ length: count * width }, (_, at) => {
      const [row, channel] = [Math.floor(at / width), at % width];
      let sum = 0.3 * random.normal();
      for (let k = 0; k < 4; k++) sum += causes[row * 4 + k]! * mixing.floats[k * width + channel]!;
      return sum;
    }),
  );
}
const tensors = {
  first: numbers([hidden, width]),
  bias: numbers([hidden]),
  second: numbers([hidden, outputs]),
};
const [seen, heldOut] = [Array.from({ length: 4 }, () => ({ x: inputs(32) })), inputs(64)];

/** A Linear `[out, in]` with a bias, one `[in, out]` without, and a second reader of what the first reads. */
function network(): Graph {
  const graph = new Graph('network');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const input = graph.addInput('x', 'float32', ['N', width]);
  const weight = graph.addConstant('first.weight', tensors.first);
  const first = b.op('MatMul', [input, b.op('Transpose', [weight], { perm: [1, 0] })]);
  const bent = b.op('Relu', [b.op('Add', [first, graph.addConstant('first.bias', tensors.bias)])]);
  const second = b.op('MatMul', [bent, graph.addConstant('second.weight', tensors.second)], {}, 'y');
  const beside = b.op('MatMul', [
    input,
    graph.addConstant(
      'third.weight',
      numbers([width, 4], () => 1 / 3),
    ),
  ]);
  graph.outputs.push(second, b.op('Identity', [beside], {}, 'z'));
  return graph;
}

async function off(source: Graph, other: Graph): Promise<number> {
  const [a, b] = [
    await runOnce(onnxruntime, source, { x: heldOut }),
    await runOnce(onnxruntime, other, { x: heldOut }),
  ];
  return Math.hypot(...a.y!.floats.map((value, i) => value - b.y!.floats[i]!)) / Math.hypot(...a.y!.floats);
}

async function* images() {
  for (const { x } of seen) yield { pixels: x };
}

const ways = {
  dynamic: () => quantizeDynamic(onnxruntime, network()),
  'dynamic, 7 bits': () => quantizeDynamic(onnxruntime, network(), { backend: 'qnnpack', weights: 'torch' }),
  static: () => quantizeStatic(onnxruntime, network(), { data: images() }),
  W4: () => quantizeInt4(onnxruntime, network(), { blockSize: 16 }),
  W4A8: () => quantizeInt4(onnxruntime, network(), { blockSize: 32, activations: 'int8' }),
  W4A4: () => quantizeInt4(onnxruntime, network(), { blockSize: 16, activations: 'int4' }),
};

it.each(Object.entries(ways))(
  'takes one of the two numbers beside each weight, and a better one: %s',
  async (name, make) => {
    const source = network();
    const quantized = await make();
    const before = await off(source, quantized);
    const grids = async () => {
      const layers = [...quantizedLayers(quantized), ...blockLinears(quantized)];
      const found = linears(source).map((layer) => {
        const twin = layers.find(({ output }) => output.name === layer.output.name)!;
        return weightGrid(
          onnxruntime,
          layer,
          twin,
          numbersOf(name.includes('7') ? { weights: 'torch' } : {}).bounded,
        );
      });
      return Promise.all(found);
    };
    const nearest = await grids();
    const learnt = await learnRounding(onnxruntime, source, quantized, seen, { steps: 50, progress: silent });
    checkGraph(quantized);
    const made = await grids();
    expect(learnt.map(({ name: of }) => of)).toEqual(['first.weight', 'third.weight', 'second.weight']);
    for (const [i, { steps, integers, scale, outputs: columns }] of made.entries()) {
      expect(scale.floats).toEqual(nearest[i]!.scale.floats);
      const others = integers.filter((value, at) => Math.abs(value - steps.floats[at]!) >= 1);
      expect([...others]).toEqual([]);
      if (!name.startsWith('W4') && !name.includes('7')) {
        const sums = [...integers].map((value, at) =>
          Math.floor(at / columns) % 2 ? Math.abs(value + integers[at - columns]!) : 0,
        );
        expect(Math.max(...sums)).toBeLessThanOrEqual(pairBound);
        expect(Math.max(...sums)).toBeGreaterThan(pairBound - 5);
      }
    }
    expect(made[0]!.integers).not.toEqual(nearest[0]!.integers);
    for (const layer of learnt) expect(layer.after).toBeLessThanOrEqual(layer.before);
    // Elsewhere the rounding of activations is as large as that of weights.
    const weightsAlone = name === 'W4' || name === 'W4A8';
    expect(learnt[0]!.after).toBeLessThan((weightsAlone ? 0.7 : 0.87) * learnt[0]!.before);
    expect(await off(source, quantized)).toBeLessThan((weightsAlone ? 0.8 : 0.98) * before);
  },
);

it('comes to the same again', async () => {
  const once = async () => {
    const quantized = await ways.W4();
    await learnRounding(onnxruntime, network(), quantized, seen, { steps: 20, progress: silent });
    return blockLinears(quantized).map(({ weight }) => weight.tensor!.data);
  };
  expect(await once()).toEqual(await once());
});
