import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { type Linear, linears, matchLinear } from '../graph/linear.ts';
import { soleReader } from '../graph/patterns.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { windowOf } from '../graph/schema/window.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { normConstants, writeAffine } from './channel-affine.ts';
import { WeightGraph } from './weight-graph.ts';

/**
 * Takes a `BatchNormalization` by running statistics into the layer before or after it, in place, where
 * `mergeConvolutions` has left it.
 * 1. Behind a Linear, also where tokens were put in one row between them, into its weight and bias.
 * 2. Before a Linear that alone reads it, likewise.
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
    const fold = foldBehind(graph, norm) ?? foldBefore(graph, norm);
    if (!fold) continue;
    const weights = new WeightGraph();
    const { scale, shift } = writeAffine(
      weights.builder,
      norm,
      constants.map((value) => weights.of(value)),
    );
    const { weight, bias } = fold.write(weights, scale, shift);
    const [newWeight, newBias] = await weights.compute(engine, [weight, bias]);
    graph.setConstant(fold.weight, newWeight!);
    fold.setBias(newBias!);
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

function foldBefore(graph: Graph, norm: Node): Fold | undefined {
  const reader = soleReader(graph, norm.output());
  if (reader?.inputs.indexOf(norm.output()) !== 0) return undefined;
  if (reader.op === 'Conv') return beforeConvolution(graph, reader);
  const linear = norm.output().shape?.length === 2 ? matchLinear(graph, reader) : undefined;
  return linear && plain(linear) ? beforeLinear(graph, linear) : undefined;
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
