import type { Graph, Node, Value } from '../graph/graph.ts';
import { soleReader } from '../graph/patterns.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { windowOf } from '../graph/schema/window.ts';
import { Tensor } from '../graph/tensor.ts';
import { normConstants, writeAffine } from './channel-affine.ts';
import type { WeightGraph } from './weight-graph.ts';

/** A convolution that a sum can be written into. */
export interface Lead {
  readonly node: Node;
  readonly group: number;
  readonly strides: readonly number[];
  readonly dilated: boolean;
  /** Taps are from `-before` to `after` about each place, an entry a spatial axis. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** A kernel `[out, in / group, ...]` and a bias `[out]`; without one it is zero. */
interface Written {
  kernel: Value;
  bias: Value | undefined;
}

/**
 * A value that is linear in the neighbourhoods of another: a convolution of `source`, or `source` itself, with what
 * was done to its channels, or a sum of such.
 */
export interface ConvolutionSum {
  readonly source: Value;
  /** Of the convolutions in it the one whose kernel covers the others'; undefined: only the place itself is seen. */
  readonly lead: Lead | undefined;
  /** The nodes that compute it. */
  readonly nodes: readonly Node[];
  /** Writes it as one kernel with the window of `lead`. */
  write(weights: WeightGraph, lead: Lead): Written;
}

/** A value as what it is: a kernel with a single one. */
export const identitySum = (source: Value): ConvolutionSum => ({
  source,
  lead: undefined,
  nodes: [],
  write: (weights, lead) => ({
    kernel: weights.builder.op('Identity', [identityKernel(lead)]),
    bias: undefined,
  }),
});

function identityKernel({ node, before }: Lead): Tensor {
  const [outputs, inputs, ...window] = node.input(1).staticShape as [number, number, ...number[]];
  const taps = window.reduce((product, length) => product * length, 1);
  const centre = window.reduce((index, length, axis) => index * length + before[axis]!, 0);
  const data = new Float32Array(outputs * inputs * taps);
  for (let out = 0; out < outputs; out++) data[(out * inputs + (out % inputs)) * taps + centre] = 1;
  return Tensor.float32([outputs, inputs, ...window], data);
}

/** The sum that a node's result is, of those that its operands are; undefined where it is none. */
export function sumOf(graph: Graph, node: Node, known: ReadonlyMap<Value, ConvolutionSum>) {
  /** What a value is to this node: a sum where nobody else reads it, and always itself. */
  const views = (value: Value): ConvolutionSum[] => {
    const sum = soleReader(graph, value) ? known.get(value) : undefined;
    return sum ? [sum, identitySum(value)] : [identitySum(value)];
  };
  switch (node.op) {
    case 'Conv':
      return convolution(node);
    case 'BatchNormalization':
      return normalized(node, views(node.input(0))[0]!);
    case 'Mul':
      return scaled(node, views);
    case 'Add':
    case 'Sub':
      return shifted(node, views) ?? added(node, views);
    default:
      return undefined;
  }
}

function convolution(node: Node): ConvolutionSum | undefined {
  const [weight, bias] = [node.input(1), node.inputs[2]];
  const own = (value: Value) => value.isConstant && value.dtype === 'float32' && value.uses.length === 1;
  if (!own(weight) || (bias && !own(bias))) return undefined;
  const args = argumentsOf<'Conv'>(node);
  const { kernel, strides, dilations, pads } = windowOf(node, args, weight.staticShape.slice(2));
  if (!pads.every((pad) => pad !== undefined)) return undefined;
  const before = pads.map((pad) => pad.before);
  const lead: Lead = {
    node,
    group: args.group,
    strides,
    dilated: dilations.some((dilation) => dilation !== 1),
    before,
    after: kernel.map((length, axis) => (length - 1) * dilations[axis]! - before[axis]!),
  };
  return {
    source: node.input(0),
    lead,
    nodes: [node],
    write: (weights, target) => ({
      kernel: widened(weights, weights.of(weight), lead, target),
      bias: bias && weights.of(bias),
    }),
  };
}

/** A kernel with zeros around it, as far as another reaches. */
function widened({ builder: b }: WeightGraph, kernel: Value, from: Lead, to: Lead): Value {
  const missing = (side: 'before' | 'after') => to[side].map((reach, axis) => reach - from[side][axis]!);
  const pads = [0, 0, ...missing('before'), 0, 0, ...missing('after')];
  return pads.every((length) => length === 0) ? kernel : b.op('Pad', [kernel, b.ints(pads)]);
}

/** One factor for each output channel, before its kernel. */
function byChannel({ builder: b }: WeightGraph, factors: Value, kernel: Value): Value {
  const axes = kernel.staticShape.slice(1).map((_, axis) => axis + 1);
  return b.op('Mul', [kernel, b.op('Unsqueeze', [factors, b.ints(axes)])]);
}

function normalized(node: Node, sum: ConvolutionSum): ConvolutionSum | undefined {
  const constants = normConstants(node);
  if (!constants) return undefined;
  return {
    ...sum,
    nodes: [...sum.nodes, node],
    write(weights, lead) {
      const { builder: b } = weights;
      const { kernel, bias } = sum.write(weights, lead);
      const { scale, shift } = writeAffine(
        b,
        node,
        constants.map((value) => weights.of(value)),
      );
      return {
        kernel: byChannel(weights, scale, kernel),
        bias: bias ? b.op('Add', [b.op('Mul', [bias, scale]), shift]) : shift,
      };
    },
  };
}

type Views = (value: Value) => ConvolutionSum[];

/** A constant with a number for each channel of the other operand, axis 1 of an image, and that operand. */
function channelConstant(node: Node): { constant: Value; of: Value } | undefined {
  for (const side of [1, 0]) {
    const [constant, of] = [node.input(side), node.input(1 - side)];
    const [shape, rank, channels] = [constant.shape, of.shape?.length ?? 0, of.shape?.[1]];
    if (!constant.isConstant || constant.dtype !== 'float32' || !shape || rank < 3) continue;
    const lies = shape.every((length, axis) => length === 1 || axis - shape.length === 1 - rank);
    if (lies && shape.length <= rank && constant.tensor!.size === channels) return { constant, of };
  }
  return undefined;
}

/** What a constant for each channel, a vector, makes of a sum. */
function withChannels(
  node: Node,
  views: Views,
  change: (weights: Parameters<ConvolutionSum['write']>[0], vector: Value, sum: Written) => Written,
): ConvolutionSum | undefined {
  const found = channelConstant(node);
  if (!found) return undefined;
  const sum = views(found.of)[0]!;
  return {
    ...sum,
    nodes: [...sum.nodes, node],
    write(weights, lead) {
      const written = sum.write(weights, lead);
      const { builder: b } = weights;
      const vector = b.op('Reshape', [weights.of(found.constant), b.ints([-1])]);
      return change(weights, vector, written);
    },
  };
}

const scaled = (node: Node, views: Views): ConvolutionSum | undefined =>
  withChannels(node, views, (weights, factors, { kernel, bias }) => ({
    kernel: byChannel(weights, factors, kernel),
    bias: bias && weights.builder.op('Mul', [bias, factors]),
  }));

/** A constant added to each channel. */
const shifted = (node: Node, views: Views): ConvolutionSum | undefined =>
  node.op === 'Add'
    ? withChannels(node, views, ({ builder }, summand, { kernel, bias }) => ({
        kernel,
        bias: bias ? builder.op('Add', [bias, summand]) : summand,
      }))
    : undefined;

function added(node: Node, views: Views): ConvolutionSum | undefined {
  const [left, right] = [node.input(0), node.input(1)];
  if (left === right || left.shape?.join() !== right.shape?.join()) return undefined;
  for (const a of views(left)) {
    for (const b of views(right)) {
      const lead = a.source === b.source ? common(a, b) : undefined;
      if (lead) return both(node, a, b, lead);
    }
  }
  return undefined;
}

/** The convolution that two sums fit into. */
function common(a: ConvolutionSum, b: ConvolutionSum): Lead | undefined {
  const [first, second] = [a.lead, b.lead];
  if (!first || !second) {
    const lead = first ?? second;
    return lead && seesItself(a.source, lead) ? lead : undefined;
  }
  if (first.group !== second.group || first.strides.join() !== second.strides.join()) return undefined;
  if (first.dilated || second.dilated) return undefined;
  return [first, second].find((lead) => covers(lead, first) && covers(lead, second));
}

const covers = (lead: Lead, other: Lead): boolean =>
  (['before', 'after'] as const).every((side) =>
    lead[side].every((reach, axis) => reach >= other[side][axis]!),
  );

/** Whether a convolution could pass on its input. */
function seesItself(source: Value, lead: Lead): boolean {
  const reaches = [...lead.before, ...lead.after];
  const channels = lead.node.input(1).shape?.[0];
  return (
    !lead.dilated &&
    lead.strides.every((stride) => stride === 1) &&
    reaches.every((reach) => reach >= 0) &&
    source.shape?.[1] === channels
  );
}

function both(node: Node, a: ConvolutionSum, b: ConvolutionSum, lead: Lead): ConvolutionSum {
  return {
    source: a.source,
    lead,
    nodes: [...a.nodes, ...b.nodes, node],
    write(weights, target) {
      const { builder } = weights;
      const [left, right] = [a.write(weights, target), b.write(weights, target)];
      const joined = (x: Value | undefined, y: Value | undefined) => {
        if (x && y) return builder.op(node.op, [x, y]);
        return y && node.op === 'Sub' ? builder.op('Neg', [y]) : (x ?? y);
      };
      return { kernel: joined(left.kernel, right.kernel)!, bias: joined(left.bias, right.bias) };
    },
  };
}
