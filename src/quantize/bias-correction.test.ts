import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { correctBias } from './bias-correction.ts';
import { blockLinears } from './block-linear.ts';
import { quantizeDynamic } from './dynamic.ts';
import { quantizeInt4 } from './int4.ts';
import { quantizedLayers } from './match-quantized.ts';
import { quantizeStatic } from './static.ts';

const width = 16;
const random = new Random(3);
const normal = (shape: readonly number[], mean = 0) =>
  Tensor.float32(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => mean + random.normal()),
  );

const tensors = { first: normal([width, width]), bias: normal([width]), second: normal([width, 5]) };
const x = normal([40, 3, 2, width], 2);

/** A Linear with a bias, and one without. */
function network(): Graph {
  const graph = new Graph('network');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const input = graph.addInput('x', 'float32', ['N', 3, 2, width]);
  const first = b.op('MatMul', [input, graph.addConstant('first.weight', tensors.first)]);
  const hidden = b.op('Relu', [b.op('Add', [first, graph.addConstant('first.bias', tensors.bias)])]);
  graph.outputs.push(b.op('MatMul', [hidden, graph.addConstant('second.weight', tensors.second)], {}, 'y'));
  return graph;
}

/** What the outputs are off in the mean over everything but their channels: the root of the mean square. */
async function meanOff(source: Graph, other: Graph): Promise<number> {
  const [a, b] = [await runOnce(onnxruntime, source, { x }), await runOnce(onnxruntime, other, { x })];
  const sums = new Float64Array(5);
  a.y!.floats.forEach((value, i) => {
    sums[i % 5]! += b.y!.floats[i]! - value;
  });
  return Math.hypot(...sums) / a.y!.floats.length;
}

async function* images() {
  yield { pixels: x };
}

const ways = {
  'dynamic, one operator': () => quantizeDynamic(onnxruntime, network()),
  'dynamic, 7-bit activations': () =>
    quantizeDynamic(onnxruntime, network(), { backend: 'fbgemm', weights: 'torch' }),
  'four bits': () => quantizeInt4(onnxruntime, network(), { blockSize: 16 }),
  'four bits, activations too': () =>
    quantizeInt4(onnxruntime, network(), { blockSize: 16, activations: 'int4' }),
  static: () => quantizeStatic(onnxruntime, network(), { data: images(), observer: 'minmax' }),
};

for (const [name, make] of Object.entries(ways)) {
  it(`takes away what outputs are off in the mean: ${name}`, async () => {
    const source = network();
    const quantized = await make();
    const before = await meanOff(source, quantized);
    await correctBias(onnxruntime, source, quantized, [{ x }]);
    checkGraph(quantized);
    const layers = [...quantizedLayers(quantized), ...blockLinears(quantized)];
    expect(layers.map(({ bias }) => bias?.shape)).toEqual([[width], [5]]);
    expect(layers.map(({ output }) => output.name)).toEqual(
      expect.arrayContaining([quantized.outputs[0]!.name]),
    );
    expect(await meanOff(source, quantized)).toBeLessThan(before / 3);
  });
}
