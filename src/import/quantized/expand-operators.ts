import { float } from '../../graph/attribute.ts';
import type { Builder } from '../../graph/builder.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf, rowsFor } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { AttributeInput } from '../../graph/types.ts';
import { scopedBuilder } from '../recognize/linear.ts';
import { checkedScale, dequantized, type Quantities, quantitiesOf } from './dequantized.ts';

/** Where an operator has numbers, their scale and their zero point among its inputs. */
type Places = readonly [numbers: number, scale: number, zeroPoint: number];

interface Expansion<O extends OpName> {
  /** What it reads in integers. */
  readonly operands: (node: Node) => readonly Places[];
  /** Scale and zero point of its result among its inputs; it is in float32 where it has none. */
  readonly result: readonly [scale: number, zeroPoint: number];
  /** The axis of the second operand that its scales lie along. */
  readonly axis?: (args: OpArguments[O]) => number;
  /** Computes on reals; undefined where there is no exact way. */
  readonly compute: (
    b: Builder,
    reals: readonly Value[],
    node: Node,
    args: OpArguments[O],
    of: readonly Quantities[],
  ) => Value | undefined;
}

const one = () => [[0, 1, 2]] as const;
const two = () =>
  [
    [0, 1, 2],
    [3, 4, 5],
  ] as const;

const attributesOf = (node: Node, ...left: string[]): Record<string, AttributeInput> =>
  Object.fromEntries([...node.attributes].filter(([name]) => !left.includes(name)));

const plain =
  (op: string, name: string) =>
  (b: Builder, reals: readonly Value[]): Value =>
    b.op(op, reals, {}, name);

/** A bias of 32 bits, in steps of the operands' scales; it has no scale of its own. */
function biasOf(b: Builder, bias: Value | undefined, [x, w]: readonly Quantities[]): Value | undefined {
  if (!bias) return undefined;
  const scale = productOf(b, x!.scale, w!.scale);
  return dequantized(b, { numbers: bias, scale, zeroPoint: undefined }, 0);
}

function productOf(b: Builder, a: Value, scales: Value): Value {
  if (!a.tensor || !scales.tensor) return b.op('Mul', [a, scales], {}, 'scales');
  const factor = a.tensor.floats[0]!;
  const floats = scales.tensor.floats.map((value) => value * factor);
  return b.constant(Tensor.float32(floats.length === 1 ? [] : [floats.length], floats), 'bias_scale');
}

const sum = (op: string, name: string) =>
  ({ operands: two, result: [6, 7], compute: plain(op, name) }) as const;

/** Operators on integers as operators on reals between roundings, keyed by `Node.op`. */
export const quantizedExpansions: { readonly [O in OpName]?: Expansion<O> } = {
  QLinearMatMul: { ...sum('MatMul', 'matmul'), axis: () => -1 },
  QLinearConv: {
    operands: two,
    result: [6, 7],
    axis: () => 0,
    compute: (b, [x, w], node, _args, of) =>
      b.op('Conv', [x, w, ...present(biasOf(b, node.inputs[8], of))], attributesOf(node), 'conv'),
  },
  'com.microsoft.QGemm': {
    operands: two,
    result: [7, 8],
    axis: ({ transB }) => (transB ? 0 : 1),
    compute: (b, [x, w], node, { alpha, transA, transB }, of) => {
      const bias = biasOf(b, node.inputs[6], of);
      if (alpha !== 1 && bias) return undefined;
      return b.op('Gemm', [x, w, ...present(bias)], { alpha: float(alpha), transA, transB }, 'gemm');
    },
  },
  'com.microsoft.QLinearAdd': sum('Add', 'add'),
  'com.microsoft.QLinearMul': sum('Mul', 'mul'),
  'com.microsoft.QLinearSigmoid': { operands: one, result: [3, 4], compute: plain('Sigmoid', 'sigmoid') },
  'com.microsoft.QLinearLeakyRelu': {
    operands: one,
    result: [3, 4],
    compute: (b, reals, _node, { alpha }) => b.op('LeakyRelu', reals, { alpha: float(alpha) }, 'act'),
  },
  'com.microsoft.QLinearSoftmax': {
    operands: one,
    result: [3, 4],
    compute: (b, [x], _node, { axis, opset }) => {
      const last = axis === -1 || axis === (x!.shape?.length ?? 0) - 1;
      const flattens = (b.graph.root.opsets.get('') ?? 1) < 13;
      if (!last && opset < 13 !== flattens) return undefined;
      return b.op('Softmax', [x], { axis: last ? -1 : axis }, 'softmax');
    },
  },
  'com.microsoft.QLinearConcat': {
    operands: ({ inputs }) =>
      Array.from({ length: Math.floor((inputs.length - 2) / 3) }, (_, i) => [
        2 + 3 * i,
        3 + 3 * i,
        4 + 3 * i,
      ]),
    result: [0, 1],
    compute: (b, reals, _node, { axis }) => b.op('Concat', reals, { axis }, 'concat'),
  },
  'com.microsoft.QLinearGlobalAveragePool': {
    operands: one,
    result: [3, 4],
    compute: (b, reals, _node, args) =>
      args.channels_last ? undefined : b.op('GlobalAveragePool', reals, {}, 'pool'),
  },
  'com.microsoft.QLinearAveragePool': {
    operands: one,
    result: [3, 4],
    compute: (b, reals, node, args) =>
      args.channels_last
        ? undefined
        : b.op('AveragePool', reals, attributesOf(node, 'channels_last'), 'pool'),
  },
  'com.microsoft.QLinearReduceMean': {
    operands: one,
    result: [3, 4],
    compute: (b, reals, _node, { axes, keepdims }) => {
      const listed = (b.graph.root.opsets.get('') ?? 1) >= 18;
      return listed
        ? b.op('ReduceMean', [...reals, b.ints(axes)], { keepdims }, 'mean')
        : b.op('ReduceMean', reals, { axes, keepdims }, 'mean');
    },
  },
  'com.microsoft.QLinearWhere': {
    operands: () => [
      [1, 2, 3],
      [4, 5, 6],
    ],
    result: [7, 8],
    compute: (b, reals, node) => b.op('Where', [node.input(0), ...reals], {}, 'where'),
  },
  /** The products behind it are another operator's, which `expandFused` takes apart. */
  'com.microsoft.QAttention': {
    operands: () => [
      [0, 3, 6],
      [1, 4, 7],
    ],
    result: [-1, -1],
    axis: () => 1,
    compute: (b, [x, w], node) => {
      if (node.inputs[5] || node.inputs[8] || node.outputs[1]) return undefined;
      const attributes = attributesOf(node, 'past_present_share_buffer');
      return b.op('com.microsoft.Attention', [x, w, node.inputs[2]], attributes, 'attention');
    },
  },
  ...rowsFor('com.microsoft.QuantizeLinear com.microsoft.DequantizeLinear', {
    operands: () => [],
    result: [-1, -1] as const,
    compute: (b: Builder, _reals: readonly Value[], node: Node) => {
      const wide = node.inputs[2]?.dtype ?? node.inputs[0]?.dtype;
      const needed = /16$|4$/.test(wide ?? '') ? 21 : 13;
      if ((b.graph.root.opsets.get('') ?? 1) < needed) return undefined;
      return b.op(node.opType, node.inputs, attributesOf(node), node.opType.toLowerCase());
    },
  }),
};

const present = (value: Value | undefined): Value[] => (value ? [value] : []);

/**
 * Puts operators on reals, between `DequantizeLinear` and `QuantizeLinear`, in the place of ONNX Runtime's operators on
 * integers (QOperator format), in place: engines fuse them again. It does not fire on layouts with the channels last, pasts and
 * masks of keys, and a Softmax of another operator set's meaning.
 * @returns how many operators there were, expanded or not
 * @throws UserError at one whose scale or zero point can't be what it says
 */
export function expandOperators(graph: Graph): number {
  let count = 0;
  for (const node of [...graph.nodes]) {
    const row = rowOf(quantizedExpansions, node) as Expansion<OpName> | undefined;
    if (!row) continue;
    if (row.operands(node).length) count++;
    const args = argumentsOf(node);
    const of = row.operands(node).map((places) => quantitiesOf(node, places));
    const b = scopedBuilder(graph, node);
    const reals = of.map((each, i) => dequantized(b, each, i === 1 ? (row.axis?.(args) ?? 1) : 1));
    const computed = row.compute(b, reals, node, args, of);
    if (!computed) continue;
    const [scale, zeroPoint] = row.result.map((index) => node.inputs[index]);
    if (scale) checkedScale(node, scale);
    const zero = zeroPoint ?? new Tensor('uint8', [], Uint8Array.of(0));
    const result = scale ? b.op('QuantizeLinear', [computed, scale, zero], {}, 'quantized') : computed;
    replaceValue(graph, node.output(), result);
    graph.removeNodes([node]);
  }
  graph.removeDead();
  return count;
}
