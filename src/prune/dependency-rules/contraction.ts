import type { Node, Value } from '../../graph/graph.ts';
import { einsumLabels } from '../../graph/schema/einsum.ts';
import { type OpArguments, rowsFor } from '../../graph/schema/signature.ts';
import { axisFactor, type Labelled, moveAxes, permute } from '../layout.ts';
import {
  type DependencyContext,
  type DependencyRule,
  type DependencyRules,
  pinInputs,
  shapeOf,
} from './rule.ts';

const swapLast = (rank: number) => [...Array(rank - 2).keys(), rank - 1, rank - 2];

function operand(context: DependencyContext, value: Value, transposed: boolean): Labelled {
  const dims = shapeOf(value);
  const layout = context.layout(value);
  if (!transposed || dims.length < 2) return { dims, layout };
  const perm = swapLast(dims.length);
  return { dims: perm.map((axis) => dims[axis]!), layout: permute(layout, perm) };
}

/** A tensor in a space of more axes, each of its own put where `where` says and the others of length 1. */
function placed(x: Labelled, where: (axis: number) => number, rank: number): Labelled {
  const dims = Array<number | string>(rank).fill(1);
  x.dims.forEach((dim, axis) => {
    dims[where(axis)] = dim;
  });
  const order = [...x.dims.keys()].sort((p, q) => where(p) - where(q));
  return {
    dims,
    layout: permute(x.layout, order).map((factor) => ({
      ...factor,
      axes: factor.axes.map((axis) => where(order[axis]!)),
    })),
  };
}

/** As a matrix product: operands meet in the space of all labels, and those that the output lacks are summed away. */
const einsum: DependencyRule<OpArguments['Einsum']> = (node, args, context) => {
  const labels = einsumLabels(node, args);
  const repeated = labels?.inputs.some((own) => new Set(own).size !== own.length);
  if (!labels || repeated) return pinInputs(node, context);
  const summed = [...new Set(labels.inputs.flat())].filter((label) => !labels.output.includes(label));
  const space = [...labels.output, ...summed];
  const operands = labels.inputs.map((own, i) => {
    const value = node.input(i);
    const labelled = { dims: shapeOf(value), layout: context.layout(value) };
    return placed(labelled, (axis) => space.indexOf(own[axis]!), space.length);
  });
  const met = operands.reduce((a, b) => context.meet(a, b));
  const places = summed.map((_, i) => labels.output.length + i).reverse();
  return [places.reduce((layout, axis) => context.reduce(layout, axis), met.layout)];
};

/** Channels of the input are the weight's first axis, those of the output its second; grouped ones stay. */
const transposedConvolution: DependencyRule<OpArguments['ConvTranspose']> = (node, { group }, context) => {
  if (group !== 1) return pinInputs(node, context);
  const x = context.layout(node.input(0));
  const weight = context.layout(node.input(1));
  for (const axis of [...shapeOf(node.input(1)).keys()].slice(2)) context.pinAxis(weight, axis);
  context.pin(x.filter((factor) => factor.axes.some((axis) => axis >= 2)));
  context.uniteAxes(context.single(x, 1), context.single(weight, 0));
  const output = context.single(weight, 1);
  const bias = node.inputs[2];
  if (bias) context.uniteAxes(output, context.single(context.layout(bias), 0));
  return [output ? [axisFactor(1, output)] : []];
};

/**
 * A matrix product is a broadcast product in the space [batch..., m, n, k] summed over k: the operands
 * meet in that space, and the k axis, on which they have agreed, is reduced away.
 */
function contract(context: DependencyContext, a: Labelled, b: Labelled): Labelled {
  const left = a.dims.length === 1 ? prepend(a) : a;
  const right = b.dims.length === 1 ? append(b) : b;
  const batch = Math.max(left.dims.length, right.dims.length) - 2;
  const [m, n, k] = [batch, batch + 1, batch + 2];
  const place = (x: Labelled, row: number, column: number): Labelled => {
    const rank = x.dims.length;
    const where = (axis: number) =>
      axis === rank - 2 ? row : axis === rank - 1 ? column : axis + batch - (rank - 2);
    return placed(x, where, batch + 3);
  };
  const met = context.meet(place(left, m, k), place(right, k, n));
  let layout = context.reduce(met.layout, k);
  let dims = met.dims.slice(0, k);
  const drop = (axis: number) => {
    layout = moveAxes(layout, (other) => (other > axis ? other - 1 : other));
    dims = dims.filter((_, i) => i !== axis);
  };
  if (b.dims.length === 1) drop(n);
  if (a.dims.length === 1) drop(m);
  return { dims, layout };
}

const prepend = ({ dims, layout }: Labelled): Labelled => ({
  dims: [1, ...dims],
  layout: moveAxes(layout, (axis) => axis + 1),
});

const append = ({ dims, layout }: Labelled): Labelled => ({ dims: [...dims, 1], layout });

/** The product of the first two inputs, either of them transposed. */
const productOf = (
  node: Node,
  { transA, transB }: Pick<OpArguments['Gemm'], 'transA' | 'transB'>,
  context: DependencyContext,
): Labelled =>
  contract(
    context,
    operand(context, node.input(0), transA === 1),
    operand(context, node.input(1), transB === 1),
  );

const gemm: DependencyRule<OpArguments['Gemm']> = (node, args, context) => {
  const product = productOf(node, args, context);
  const bias = node.inputs[2];
  if (!bias) return [product.layout];
  const shape = shapeOf(bias);
  const shift = 2 - shape.length;
  return [
    context.meet(product, {
      dims: [...Array<number>(shift).fill(1), ...shape],
      layout: moveAxes(context.layout(bias), (axis) => axis + shift),
    }).layout,
  ];
};

/** How channels of input and output depend on a convolution's weight, by its number of groups. */
const convolution: DependencyRule<OpArguments['Conv']> = (node, { group: groups }, context) => {
  const x = context.layout(node.input(0));
  const weight = context.layout(node.input(1));
  const [outputs, perGroup, ...window] = shapeOf(node.input(1));
  window.forEach((_, i) => {
    context.pinAxis(weight, i + 2);
  });
  const spatial = x.filter((factor) => factor.axes.some((axis) => axis >= 2));
  context.pin(spatial);
  const output = context.single(weight, 0);
  if (groups === 1) context.uniteAxes(context.single(x, 1), context.single(weight, 1));
  else groupedChannels(node, context, groups, outputs as number, perGroup as number);
  const bias = node.inputs[2];
  if (bias) context.uniteAxes(output, context.single(context.layout(bias), 0));
  return [output ? [axisFactor(1, output)] : []];
};

/**
 * Depthwise: each channel goes with its own outputs. Other groupings keep their number of groups: the
 * same channels of each group go, on both sides.
 */
function groupedChannels(
  node: Node,
  context: DependencyContext,
  groups: number,
  outputs: number,
  perGroup: number,
): void {
  const x = context.single(context.layout(node.input(0)), 1);
  const weight = context.layout(node.input(1));
  const output = context.single(weight, 0);
  const input = context.single(weight, 1);
  if (perGroup === 1) {
    if (!x || !output) {
      context.uniteAxes(x, undefined);
      context.uniteAxes(output, undefined);
      return;
    }
    const multiplier = outputs / groups;
    output.forEach((label, i) => {
      context.labels.unite(label, x[Math.floor(i / multiplier)]!);
    });
    return;
  }
  const perOutput = outputs / groups;
  output?.forEach((label, i) => {
    context.labels.unite(label, output[i % perOutput]!);
  });
  if (x && input) {
    x.forEach((label, i) => {
      context.labels.unite(label, input[i % perGroup]!);
    });
  } else context.uniteAxes(x, input);
}

/** Windows over space leave channels as they are. */
const pooling: DependencyRule<object> = (node, _args, context) => {
  const layout = context.layout(node.input(0));
  const kept = layout.filter((factor) => factor.axes.every((axis) => axis < 2));
  context.pin(layout.filter((factor) => !kept.includes(factor)));
  return [kept];
};

export const contractionRules = {
  MatMul: (node, _args, context) => [productOf(node, { transA: 0, transB: 0 }, context).layout],
  'com.microsoft.FusedMatMul': (node, args, context) =>
    args.transBatchA || args.transBatchB ? pinInputs(node, context) : [productOf(node, args, context).layout],
  Gemm: gemm,
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  Einsum: einsum,
  ...rowsFor('GlobalAveragePool GlobalMaxPool AveragePool MaxPool', pooling),
} satisfies DependencyRules;
