import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import type { OpArguments } from '../graph/schema/signature.ts';
import { transposedPadding, windowOf } from '../graph/schema/window.ts';
import { product } from './product.ts';
import { type GradientRules, lengthsOf, reshapeLike, shapeOf, single, sumTo } from './rule.ts';

interface Geometry {
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
  /** Begins of all spatial axes, then ends. */
  pads: number[];
  groups: number;
  input: number[];
  output: number[];
}

function geometryOf(node: Node, args: OpArguments['Conv']): Geometry {
  const spatial = [...shapeOf(node.input(0)).keys()].slice(2);
  const kernel = lengthsOf(node.input(1), spatial);
  const input = lengthsOf(node.input(0), spatial);
  const output = lengthsOf(node.output(), spatial);
  const { strides, dilations, pads } = windowOf(node, args, kernel);
  const ends = [...pads.map((pad) => pad!.before), ...pads.map((pad) => pad!.after)];
  return { kernel, strides, dilations, pads: ends, groups: args.group, input, output };
}

/** Where windows tile the input without overlap, gap or padding, as patch embeddings do. */
const tiles = ({ kernel, strides, dilations, pads, groups, input }: Geometry): boolean =>
  groups === 1 &&
  pads.every((pad) => pad === 0) &&
  dilations.every((dilation) => dilation === 1) &&
  kernel.every((length, i) => length === strides[i] && input[i]! % length === 0);

/** Patches as rows of one matrix; the weight's gradient is one product. */
function tiledWeightGradient(b: Builder, node: Node, g: Value, { kernel, output }: Geometry): Value {
  const [x, weight] = [node.input(0), node.input(1)];
  const [channels] = lengthsOf(x, [1]);
  const [outChannels] = lengthsOf(weight, [0]);
  const rank = kernel.length;
  const boxes = b.op('Reshape', [
    x,
    b.ints([-1, channels!, ...kernel.flatMap((length, i) => [output[i]!, length])]),
  ]);
  const across = Array.from({ length: rank }, (_, i) => 2 + 2 * i);
  const within = across.map((axis) => axis + 1);
  const patches = b.op('Reshape', [
    b.op('Transpose', [boxes], { perm: [0, ...across, 1, ...within] }),
    b.ints([-1, kernel.reduce((p, d) => p * d, channels!)]),
  ]);
  const last = b.op('Transpose', [g], { perm: [0, ...Array.from({ length: rank }, (_, i) => i + 2), 1] });
  const rows = b.op('Reshape', [last, b.ints([-1, outChannels!])]);
  const flat = product(b, { value: rows, transposed: true }, { value: patches, transposed: false });
  return reshapeLike(b, flat, weight);
}

/**
 * The weight's gradient correlates input and output gradient: a convolution of the input with the
 * gradient as kernel, batch and channels swapped, strides and dilations exchanged. Groups are carried
 * along as groups of that convolution.
 */
function weightGradient(b: Builder, x: Value, g: Value, window: Geometry): Value {
  const { kernel, strides, dilations, pads, groups, input, output } = window;
  const [channels] = lengthsOf(x, [1]);
  const [outChannels] = lengthsOf(g, [1]);
  const rank = kernel.length;
  const perGroup = channels! / groups;
  const tail = Array.from({ length: rank }, (_, i) => i + 3);
  const batchInside = b.op('Reshape', [
    b.op('Transpose', [b.op('Reshape', [x, b.ints([-1, groups, perGroup, ...input])])], {
      perm: [2, 1, 0, ...tail],
    }),
    b.ints([perGroup, -1, ...input]),
  ]);
  const kernels = b.op('Transpose', [g], { perm: [1, 0, ...tail.map((axis) => axis - 1)] });
  const correlated = b.op('Conv', [batchInside, kernels], {
    kernel_shape: output,
    strides: dilations,
    dilations: strides,
    pads,
    group: groups,
  });
  const cut = b.op('Slice', [
    correlated,
    b.ints(kernel.map(() => 0)),
    b.ints(kernel),
    b.ints(kernel.map((_, i) => i + 2)),
  ]);
  cut.shape = [perGroup, outChannels!, ...kernel];
  return b.op('Transpose', [cut], { perm: [1, 0, ...tail.map((axis) => axis - 1)] });
}

function inputGradient(b: Builder, node: Node, g: Value, window: Geometry): Value {
  const { kernel, strides, dilations, pads, groups, input, output } = window;
  const rest = input.map((length, i) => {
    const reached = (output[i]! - 1) * strides[i]! + (kernel[i]! - 1) * dilations[i]! + 1;
    return length + pads[i]! + pads[i + kernel.length]! - reached;
  });
  const dx = b.op('ConvTranspose', [g, node.input(1)], {
    kernel_shape: kernel,
    strides,
    dilations,
    pads,
    group: groups,
    output_padding: rest,
  });
  dx.dtype = g.dtype;
  dx.shape = node.input(0).shape;
  return dx;
}

/** Convolutions. */
export const convolution = {
  Conv: single((node, args, g, { builder: b, wants }) => {
    if (!node.inputs[0]?.shape) throw new UserError(`${node.label}: the shape of its input is unknown`);
    const window = geometryOf(node, args);
    const bias = node.inputs[2];
    const spatial = [...shapeOf(g).keys()].slice(2);
    return [
      wants(0) ? inputGradient(b, node, g, window) : undefined,
      wants(1)
        ? tiles(window)
          ? tiledWeightGradient(b, node, g, window)
          : weightGradient(b, node.input(0), g, window)
        : undefined,
      bias && wants(2)
        ? sumTo(b, b.op('ReduceSum', [g, b.ints([0, ...spatial])], { keepdims: 0 }), bias)
        : undefined,
    ];
  }),
  /** A convolution backwards: what it writes is that one's input. */
  ConvTranspose: single((node, args, g, { builder: b, wants }) => {
    const [x, weight] = [node.input(0), node.input(1)];
    const spatial = [...shapeOf(x).keys()].slice(2);
    const kernel = lengthsOf(weight, spatial);
    const padding = transposedPadding(node, args, kernel);
    if (!padding) throw new UserError(`${node.label}: its gradient needs the size of its input`);
    const window: Geometry = {
      kernel,
      strides: args.strides ?? kernel.map(() => 1),
      dilations: args.dilations ?? kernel.map(() => 1),
      pads: [...padding.map(({ before }) => before), ...padding.map(({ after }) => after)],
      groups: args.group,
      input: lengthsOf(node.output(), spatial),
      output: lengthsOf(x, spatial),
    };
    const { strides, dilations, pads } = window;
    const backwards = () =>
      b.op('Conv', [g, weight], { kernel_shape: kernel, strides, dilations, pads, group: args.group });
    const bias = node.inputs[2];
    return [
      wants(0) ? backwards() : undefined,
      wants(1) ? weightGradient(b, g, x, window) : undefined,
      bias && wants(2) ? b.op('ReduceSum', [g, b.ints([0, ...spatial])], { keepdims: 0 }) : undefined,
    ];
  }),
} satisfies GradientRules;
