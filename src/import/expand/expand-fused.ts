import { float } from '../../graph/attribute.ts';
import type { Builder } from '../../graph/builder.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../../graph/schema/signature.ts';
import { scopedBuilder } from '../recognize/linear.ts';
import { attention, multiHeadAttention, packedAttention } from './attention.ts';
import { einsum } from './einsum.ts';

/** The first output, or all of them by their places, in standard ops; undefined where there is no exact way. */
type Expansion<O extends OpName> = (
  b: Builder,
  node: Node,
  args: OpArguments[O],
) => Value | readonly (Value | undefined)[] | undefined;

/** An operand with its first axis moved to the place before the last where `batch`, then the two last exchanged where `last`. */
function turned(b: Builder, x: Value, last: boolean, batch: boolean): Value | undefined {
  if (!last && !batch) return x;
  const rank = x.shape?.length;
  if (rank === undefined || rank < 2) return undefined;
  const axes = [...Array(rank).keys()];
  const perm = batch ? [...axes.slice(1, -1), 0, rank - 1] : axes;
  if (last) perm.push(...perm.splice(-2).reverse());
  return b.op('Transpose', [x], { perm }, 'turned');
}

const fusedMatMul: Expansion<'com.microsoft.FusedMatMul'> = (b, node, args) => {
  const left = turned(b, node.input(0), args.transA === 1, args.transBatchA === 1);
  const right = turned(b, node.input(1), args.transB === 1, args.transBatchB === 1);
  if (!left || !right) return undefined;
  if (args.alpha === 1) return b.op('MatMul', [left, right], {}, 'matmul');
  return b.op('MatMul', [b.op('Mul', [left, b.scalar(args.alpha)], {}, 'scaled'), right], {}, 'matmul');
};

const added = (b: Builder, x: Value, y: Value | undefined): Value => (y ? b.op('Add', [x, y], {}, 'add') : x);

/** Gelu is younger than some files that can't be raised. */
function gelu(
  b: Builder,
  x: Value,
  bias: Value | undefined,
  attributes: Record<string, string> = {},
): Value | undefined {
  if ((b.graph.root.opsets.get('') ?? 1) < 20) return undefined;
  return b.op('Gelu', [added(b, x, bias)], attributes, 'act');
}

const skipLayerNorm: Expansion<'com.microsoft.SkipLayerNormalization'> = (b, node, { epsilon }) => {
  const [x, skip, gamma, beta, bias] = node.inputs as Value[];
  if (node.outputs[1] || node.outputs[2] || (b.graph.root.opsets.get('') ?? 1) < 17) return undefined;
  const sum = added(b, added(b, x!, bias), skip);
  const operands = beta ? [sum, gamma, beta] : [sum, gamma];
  const normed = b.op('LayerNormalization', operands, { axis: -1, epsilon: float(epsilon) }, 'norm');
  return [normed, undefined, undefined, sum];
};

/** Activations that Conv and Gemm can have in them, by ONNX Runtime's names. */
function activated(b: Builder, x: Value, name: string | undefined): Value | undefined {
  if (name === undefined || name === '') return x;
  return ['Relu', 'Sigmoid', 'Tanh'].includes(name) ? b.op(name, [x], {}, 'act') : undefined;
}

const windowed = ['auto_pad', 'dilations', 'group', 'kernel_shape', 'pads', 'strides'] as const;

const fusedConv: Expansion<'com.microsoft.FusedConv'> = (b, node, args) => {
  const attributes = Object.fromEntries(
    windowed.flatMap((name) => {
      const value = args[name];
      return value === undefined ? [] : [[name, value as string | number | number[]]];
    }),
  );
  const [x, weight, bias, z] = node.inputs;
  const made = b.op('Conv', bias ? [x, weight, bias] : [x, weight], attributes, 'conv');
  return activated(b, added(b, made, z), args.activation);
};

const fusedGemm: Expansion<'com.microsoft.FusedGemm'> = (b, node, args) => {
  const { alpha, beta, transA, transB } = args;
  const attributes = { alpha: float(alpha), beta: float(beta), transA, transB };
  return activated(b, b.op('Gemm', node.inputs, attributes, 'gemm'), args.activation);
};

/** What fused operators, and those that say several things, are made of, keyed by `Node.op`. */
export const expansions: { readonly [O in OpName]?: Expansion<O> } = {
  Attention: attention,
  Einsum: einsum,
  'com.microsoft.Attention': packedAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.FusedConv': fusedConv,
  'com.microsoft.FusedGemm': fusedGemm,
  'com.microsoft.SkipLayerNormalization': skipLayerNorm,
  'com.microsoft.Gelu': (b, node) => gelu(b, node.input(0), undefined),
  'com.microsoft.BiasGelu': (b, node) => gelu(b, node.input(0), node.input(1)),
  'com.microsoft.FastGelu': (b, node) => gelu(b, node.input(0), node.inputs[1], { approximate: 'tanh' }),
  'com.microsoft.QuickGelu': (b, node, { alpha }) => {
    const scaled = alpha === 1 ? node.input(0) : b.op('Mul', [node.input(0), b.scalar(alpha)], {}, 'scaled');
    return b.op('Mul', [node.input(0), b.op('Sigmoid', [scaled], {}, 'sigmoid')], {}, 'act');
  },
  'com.microsoft.BiasSoftmax': (b, node, { axis, is_inner_broadcast: inner }) => {
    const rank = node.input(0).shape?.length;
    if (inner || rank === undefined || (axis !== -1 && axis !== rank - 1)) return undefined;
    return b.op('Softmax', [added(b, node.input(0), node.input(1))], { axis: -1 }, 'softmax');
  },
};

/**
 * Puts standard ops in the place of those that ONNX Runtime's optimizer fused, and of ONNX's own Attention and Einsum,
 * where they compute the same: once before lengths are known, so that what is behind them has a shape, and once they
 * are. It does not fire on pasts, masks of keys, statistics that are read, and layouts by transposed batch axes.
 */
export function expandFused(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const expansion = rowOf(expansions, node) as Expansion<OpName> | undefined;
    const made = expansion?.(scopedBuilder(graph, node), node, argumentsOf(node));
    if (!made) continue;
    const results = Array.isArray(made) ? (made as (Value | undefined)[]) : [made as Value];
    node.outputs.forEach((output, i) => {
      if (output && results[i]) replaceValue(graph, output, results[i]);
    });
    graph.removeNodes([node]);
  }
  graph.removeDead();
}
