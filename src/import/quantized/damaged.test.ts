import { expect, it } from 'vitest';
import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { importGraph } from '../import-graph.ts';

const uint8 = (value: number) => new Tensor('uint8', [], Uint8Array.of(value));
const matrix = new Tensor(
  'int8',
  [4, 3],
  Int8Array.from({ length: 12 }, (_, i) => i - 6),
);

interface Parts {
  scale?: Tensor;
  zeroPoint?: Tensor | undefined;
  weight?: Tensor;
}

/** A product of operators on integers. */
function operators({ scale = Tensor.scalar(0.5), zeroPoint = uint8(3), weight = matrix }: Parts): Graph {
  const graph = new Graph('foreign');
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 4]);
  const [step, zero] = [Tensor.scalar(0.1), uint8(7)];
  const quantized = b.op('QuantizeLinear', [x, step, zero]);
  const weightZero = new Tensor('int8', [], Int8Array.of(0));
  const operands = [quantized, step, zero, weight, Tensor.scalar(0.2), weightZero, scale, zeroPoint];
  const product = b.op('QLinearMatMul', operands, {}, 'fc');
  graph.outputs.push(b.op('DequantizeLinear', [product, Tensor.scalar(0.5), uint8(3)], {}, 'y'));
  return graph;
}

/** A pair around a product of reals. */
function pair({ scale = Tensor.scalar(0.5), zeroPoint, weight = matrix }: Parts): Graph {
  const graph = new Graph('foreign');
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 4]);
  const operands = zeroPoint ? [weight, scale, zeroPoint] : [weight, scale];
  graph.outputs.push(b.op('MatMul', [x, b.op('DequantizeLinear', operands, {}, 'w')], {}, 'y'));
  return graph;
}

const damages: Record<string, [() => Graph, RegExp]> = {
  'a scale without elements': [
    () => pair({ scale: Tensor.float32([0], []) }),
    /^DequantizeLinear "w": the scale \S+ has no elements; the file is damaged/,
  ],
  'a scale that is no number': [() => pair({ scale: Tensor.scalar(Number.NaN) }), /the scale \S+ holds NaN;/],
  'a scale of integers': [
    () => pair({ scale: Tensor.scalar(1, 'int64') }),
    /the scale \S+ is int64, not float32;/,
  ],
  'a zero point of another type': [
    () => pair({ zeroPoint: uint8(0) }),
    /the zero point \S+ is uint8, \S+ is int8;/,
  ],
  'zero points that are too many': [
    () => pair({ zeroPoint: new Tensor('int8', [5], new Int8Array(5)) }),
    /the zero point \S+ has 5 elements, the scale \S+ 1;/,
  ],
  'reals that were to be integers': [
    () => pair({ weight: Tensor.float32([4, 3], new Float32Array(12)) }),
    /is float32, not integers;/,
  ],
  'a result whose scale is 0': [
    () => operators({ scale: Tensor.scalar(0) }),
    /^QLinearMatMul "fc": the scale \S+ holds 0;/,
  ],
};

it.each(Object.entries(damages))('%s is said in a line', (_, [build, message]) => {
  expect(() => importGraph(build())).toThrow(
    expect.objectContaining({ name: 'UserError', message: expect.stringMatching(message) }),
  );
});

it('an operand that is missing is said in a line', () => {
  const graph = operators({});
  const product = graph.nodes.find(({ op }) => op === 'QLinearMatMul')!;
  product.setInput(4, undefined);
  expect(() => importGraph(graph)).toThrow(
    /^QLinearMatMul "fc": it has no scale of \S+ \(input 4\); the file/,
  );
});
