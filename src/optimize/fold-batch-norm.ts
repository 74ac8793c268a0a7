import { Builder } from '../graph/builder.ts';
import { sameShape } from '../graph/dim.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { type Linear, linears, matchLinear } from '../graph/linear.ts';
import { permutation, soleReader } from '../graph/patterns.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf, isComputed } from '../graph/schema/arguments.ts';
import { windowOf } from '../graph/schema/window.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { normConstants, writeAffine } from './channel-affine.ts';
import { WeightGraph } from './weight-graph.ts';

/**
 * Takes a `BatchNormalization` by running statistics into the layer before or after it, in place, where
 * `mergeConvolutions` has left it.
 * 1. Behind a Linear, also where tokens were put in one row between them, into its weight and bias.
 * 2. Before Linears, also where tokens were made of an image between them, or the mean of it, likewise.
 * 3. Before a `Conv` that alone reads it and has no padding, which stands for zeros behind the norm.
 * 4. Behind a `ConvTranspose` of one group, into its weight and bias.
 *
 * It does not fire when somebody else reads the value between them, when the weight or bias serves another layer
 * too, and on anything but float32 constants.
 *
 * @returns how many norms went
 */
export async function foldBatchNorm(engine: Engine, graph: Graph): Promise<number> {
  let count = 0;
  for (const norm of graph.nodes.filter(({ op }) => op === 'BatchNormalization')) {
    const constants = normConstants(norm);
    if (!constants) continue;
    const behind = foldBehind(graph, norm);
    const folds = behind ? [behind] : foldBefore(graph, norm);
    if (!folds.length) continue;
    const weights = new WeightGraph();
    const { scale, shift } = writeAffine(
      weights.builder,
      norm,
      constants.map((value) => weights.of(value)),
    );
    const written = folds.map((fold) => fold.write(weights, scale, shift));
    const tensors = await weights.compute(
      engine,
      written.flatMap(({ weight, bias }) => [weight, bias]),
    );
    folds.forEach((fold, i) => {
      graph.setConstant(fold.weight, tensors[2 * i]!);
      fold.setBias(tensors[2 * i + 1]!);
    });
    replaceValue(graph, norm.output(), norm.input(0));
    graph.removeNodes([norm]);
    count++;
  }
  return count;
}

interface Fold {
  /** The weight of the layer. */
  readonly weight: Value;
  write(weights: WeightGraph, scale: Value, shift: Value): { weight: Value; bias: Value };
  setBias(bias: Tensor): void;
}

/** A constant of one layer alone. */
const own = (value: Value): boolean =>
  value.isConstant && value.dtype === 'float32' && value.uses.length === 1;

function foldBehind(graph: Graph, norm: Node): Fold | undefined {
  const input = norm.input(0);
  if (!soleReader(graph, input) || !input.producer) return undefined;
  if (input.producer.op === 'ConvTranspose') return behindTransposed(graph, input.producer);
  return input.shape?.length === 2 ? behindLinear(graph, norm) : undefined;
}

/** Where the tokens of `[..., C]` are rows, the value before that; both have a sole reader. */
function beforeRows(graph: Graph, value: Value): Value {
  const { producer } = value;
  if (producer?.op !== 'Reshape') return value;
  const from = producer.input(0);
  const same = from.shape?.at(-1) === value.shape?.at(-1);
  return same && soleReader(graph, from) ? from : value;
}

function behindLinear(graph: Graph, norm: Node): Fold | undefined {
  const output = beforeRows(graph, norm.input(0));
  const linear = linears(graph).find((one) => one.output === output);
  if (!linear || !plain(linear)) return undefined;
  const { weight, bias, layout } = linear;
  return {
    weight,
    write(weights, scale, shift) {
      const { builder: b } = weights;
      const factors = layout === 'in,out' ? scale : b.op('Unsqueeze', [scale, b.ints([1])]);
      return {
        weight: b.op('Mul', [weights.of(weight), factors]),
        bias: bias ? b.op('Add', [b.op('Mul', [weights.of(bias), scale]), shift]) : shift,
      };
    },
    setBias: biasSetter(graph, linear),
  };
}

/** A product, with its Add, whose constants are its own. */
const plain = ({ product, weight, bias }: Linear): boolean =>
  product.op === 'MatMul' && own(weight) && (!bias || own(bias));

const biasSetter =
  (graph: Graph, { product, weight, bias }: Linear) =>
  (tensor: Tensor): void => {
    if (bias) {
      graph.setConstant(bias, tensor);
      return;
    }
    const constant = graph.addConstant(biasName(graph, weight), tensor);
    const output = product.output();
    const next = graph.nodes[graph.nodes.indexOf(product) + 1];
    const sum = new Builder(graph, next).op('Add', [output, constant]);
    replaceValue(graph, output, sum);
    sum.producer!.setInput(0, output);
  };

const biasName = (graph: Graph, { name }: Value): string =>
  graph.uniqueName(`${name.replace(/\.weight$/, '')}.bias`);

function behindTransposed(graph: Graph, node: Node): Fold | undefined {
  const [weight, bias] = [node.input(1), node.inputs[2]];
  if (argumentsOf<'ConvTranspose'>(node).group !== 1 || !own(weight) || (bias && !own(bias)))
    return undefined;
  return {
    weight,
    write(weights, scale, shift) {
      const { builder: b } = weights;
      const axes = weight.staticShape.slice(2).map((_, axis) => axis + 1);
      const factors = b.op('Unsqueeze', [scale, b.ints(axes)]);
      return {
        weight: b.op('Mul', [weights.of(weight), factors]),
        bias: bias ? b.op('Add', [b.op('Mul', [weights.of(bias), scale]), shift]) : shift,
      };
    },
    setBias: nodeBiasSetter(graph, node),
  };
}

const nodeBiasSetter =
  (graph: Graph, node: Node) =>
  (tensor: Tensor): void => {
    const old = node.inputs[2];
    if (old) graph.setConstant(old, tensor);
    else node.setInput(2, graph.addConstant(biasName(graph, node.input(1)), tensor));
  };

function foldBefore(graph: Graph, norm: Node): Fold[] {
  const output = norm.output();
  const reader = soleReader(graph, output);
  if (reader?.op === 'Conv' && reader.inputs.indexOf(output) === 0) {
    const fold = beforeConvolution(graph, reader);
    return fold ? [fold] : [];
  }
  const found = readingLinears(graph, output, 1) ?? [];
  /** Where several have no bias, the sums that they would get cost more than the norm. */
  const many = found.filter(({ bias }) => !bias).length > 1;
  return many ? [] : found.map((linear) => beforeLinear(graph, linear));
}

/** The Linears that read a value by its channels, through what only moves places or takes their mean; no others may. */
function readingLinears(graph: Graph, value: Value, axis: number): Linear[] | undefined {
  if (graph.outputs.includes(value)) return undefined;
  const found: Linear[] = [];
  for (const { node, index } of value.uses) {
    const moved = index === 0 ? channelsAfter(node, axis) : undefined;
    const linear = moved === undefined ? plainReader(graph, node, value, axis) : undefined;
    const more = moved === undefined ? linear && [linear] : readingLinears(graph, node.output(), moved);
    if (!more) return undefined;
    found.push(...more);
  }
  return found;
}

function plainReader(graph: Graph, node: Node, value: Value, axis: number): Linear | undefined {
  const linear = axis + 1 === value.shape?.length ? matchLinear(graph, node) : undefined;
  return linear?.input === value && plain(linear) ? linear : undefined;
}

/** Where the axis of the channels is after an op that moves places or takes their mean; undefined for another op. */
function channelsAfter(node: Node, axis: number): number | undefined {
  const [before, after] = [node.input(0).shape, node.output().shape];
  if (!before || !after) return undefined;
  if (node.op === 'Transpose') {
    const at = permutation(node)?.indexOf(axis);
    return at === -1 ? undefined : at;
  }
  if (node.op === 'Reshape') {
    const kept = sameShape(before.slice(0, axis + 1), after.slice(0, axis + 1));
    return kept ? axis : undefined;
  }
  if (node.op !== 'ReduceMean') return undefined;
  const { axes, keepdims } = argumentsOf<'ReduceMean'>(node);
  if (!axes || isComputed(axes)) return undefined;
  const gone = axes.map((at) => (at < 0 ? at + before.length : at));
  if (gone.includes(axis)) return undefined;
  return keepdims ? axis : axis - gone.filter((at) => at < axis).length;
}

function beforeLinear(graph: Graph, linear: Linear): Fold {
  const { weight, bias, layout } = linear;
  return {
    weight,
    write(weights, scale, shift) {
      const { builder: b } = weights;
      const old = weights.of(weight);
      const columns = layout === 'in,out' ? old : b.op('Transpose', [old], { perm: [1, 0] });
      const moved = b.op('MatMul', [shift, columns]);
      const factors = layout === 'in,out' ? b.op('Unsqueeze', [scale, b.ints([1])]) : scale;
      return {
        weight: b.op('Mul', [old, factors]),
        bias: bias ? b.op('Add', [moved, weights.of(bias)]) : moved,
      };
    },
    setBias: biasSetter(graph, linear),
  };
}

function beforeConvolution(graph: Graph, node: Node): Fold | undefined {
  const [weight, bias] = [node.input(1), node.inputs[2]];
  if (!own(weight) || (bias && !own(bias))) return undefined;
  const args = argumentsOf<'Conv'>(node);
  const [outputs, inputs, ...window] = weight.staticShape as [number, number, ...number[]];
  const { pads } = windowOf(node, args, window);
  if (!pads.every((pad) => pad && pad.before === 0 && pad.after === 0)) return undefined;
  const { group } = args;
  return {
    weight,
    write(weights, scale, shift) {
      const { builder: b } = weights;
      const ones = window.map(() => 1);
      const perGroup = (value: Value) => b.op('Reshape', [value, b.ints([group, 1, inputs, ...ones])]);
      const boxed = b.op('Reshape', [
        weights.of(weight),
        b.ints([group, outputs / group, inputs, ...window]),
      ]);
      const axes = [inputs, ...window].map((_, axis) => axis + 2);
      const moved = b.op('ReduceSum', [b.op('Mul', [boxed, perGroup(shift)]), b.ints(axes)], { keepdims: 0 });
      const summand = b.op('Reshape', [moved, b.ints([-1])]);
      const factored = b.op('Mul', [boxed, perGroup(scale)]);
      return {
        weight: b.op('Reshape', [factored, b.ints([...weight.staticShape])]),
        bias: bias ? b.op('Add', [summand, weights.of(bias)]) : summand,
      };
    },
    setBias: nodeBiasSetter(graph, node),
  };
}
