import { UserError } from '../common/errors.ts';
import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';
import type { OpArguments } from '../graph/schema/signature.ts';
import { windowCounts, windowOf } from '../graph/schema/window.ts';
import { Tensor } from '../graph/tensor.ts';
import { type GradientRules, lengthsOf, number, reshapeLike, shapeOf, single, zerosLike } from './rule.ts';

interface Geometry {
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
  pads: readonly { readonly before: number; readonly after: number }[];
  input: number[];
  output: number[];
}

function geometryOf(node: Node, args: OpArguments['AveragePool']): Geometry {
  const spatial = [...shapeOf(node.input(0)).keys()].slice(2);
  const input = lengthsOf(node.input(0), spatial);
  const output = lengthsOf(node.output(), spatial);
  const { kernel, strides, dilations, pads } = windowOf(node, args, args.kernel_shape);
  return { kernel, strides, dilations, pads: pads.map((pad) => pad!), input, output };
}

const product = (numbers: readonly number[]): number => numbers.reduce((p, n) => p * n, 1);

/** One over the number of elements that each window averages, `[...output]`. */
function shares(node: Node, args: OpArguments['AveragePool']): Tensor {
  const { shape, numbers } = windowCounts(node, args, args.count_include_pad === 1)!;
  return Tensor.float32(
    shape,
    numbers.map((count) => 1 / count),
  );
}

/** Windows that lie side by side: each element of `g` is repeated over its window. */
function repeated(b: Builder, g: Value, { kernel, output }: Geometry, channels: number): Value {
  const apart = b.op('Reshape', [g, b.ints([-1, channels, ...output.flatMap((length) => [length, 1])])]);
  return b.op('Expand', [apart, b.ints([1, 1, ...kernel.flatMap((length) => [1, length])])]);
}

/** Windows that overlap: a transposed convolution with ones, each channel an image of its own. */
function spread(b: Builder, g: Value, geometry: Geometry): Value {
  const { kernel, strides, dilations, pads, input, output } = geometry;
  const beyond = input.map((length, i) => {
    const reached = (output[i]! - 1) * strides[i]! + (kernel[i]! - 1) * dilations[i]! + 1;
    return reached - length - pads[i]!.before;
  });
  const ones = Tensor.float32([1, 1, ...kernel], new Float32Array(product(kernel)).fill(1));
  const images = b.op('Reshape', [g, b.ints([-1, 1, ...output])]);
  const made = b.op('ConvTranspose', [images, ones], {
    kernel_shape: kernel,
    strides,
    dilations,
    pads: [...pads.map(({ before }) => before), ...beyond.map((length) => Math.max(0, length))],
    output_padding: beyond.map((length) => Math.max(0, -length)),
  });
  made.dtype = g.dtype;
  made.shape = [images.shape![0]!, 1, ...input];
  return made;
}

const sideBySide = ({ kernel, strides, dilations, pads, input, output }: Geometry): boolean =>
  kernel.every(
    (length, i) =>
      length === strides[i] &&
      dilations[i] === 1 &&
      pads[i]!.before + pads[i]!.after === 0 &&
      output[i]! * length === input[i],
  );

/** Pooling over windows. */
export const pooling = {
  AveragePool: single((node, args, g, { builder: b }) => {
    const x = node.input(0);
    const geometry = geometryOf(node, args);
    if (sideBySide(geometry)) {
      const share = b.op('Mul', [g, number(b, 1 / product(geometry.kernel), g)]);
      return [reshapeLike(b, repeated(b, share, geometry, lengthsOf(x, [1])[0]!), x)];
    }
    const share = b.op('Mul', [g, shares(node, args)]);
    return [reshapeLike(b, spread(b, share, geometry), x)];
  }),
  /** The op says itself, in its second output, which element of the whole input each of its outputs is. */
  MaxPool: single((node, args, g, { builder: b }) => {
    if (args.storage_order !== 0) throw new UserError(`${node.label}: no gradient where columns come first`);
    const x = node.input(0);
    const [, indices] = b.graph.extendOutputs(node, 2);
    inferNode(node);
    const flat = (value: Value) => b.op('Reshape', [value, b.ints([-1])]);
    const added = b.op('ScatterElements', [flat(zerosLike(b, x)), flat(indices!), flat(g)], {
      reduction: 'add',
    });
    return [reshapeLike(b, added, x)];
  }),
  /** Each of the elements that equal the largest gets an equal share. */
  GlobalMaxPool: single((node, _args, g, { builder: b }) => {
    const x = node.input(0);
    const isIt = b.op('CastLike', [b.op('Equal', [x, node.output()]), x]);
    const spatial = b.ints([...shapeOf(x).keys()].slice(2));
    const ties = b.op('ReduceSum', [isIt, spatial], { keepdims: 1 });
    return [b.op('Mul', [isIt, b.op('Div', [g, ties])])];
  }),
} satisfies GradientRules;
