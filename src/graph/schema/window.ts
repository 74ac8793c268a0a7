import type { Dim, Node } from '../types.ts';
import type { OpArguments } from './signature.ts';

/** A sliding window over the spatial axes, one entry an axis. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding before and after each axis; undefined where `auto_pad` asks for as much as an unknown length needs. */
  readonly pads: readonly ({ readonly before: number; readonly after: number } | undefined)[];
  /** `auto_pad` asks for an output of `ceil(length / stride)`. */
  readonly same: boolean;
}

interface WindowArguments {
  readonly auto_pad: string;
  readonly dilations: readonly number[] | undefined;
  readonly pads: readonly number[] | undefined;
  readonly strides: readonly number[] | undefined;
}

/** The window of a convolution or pooling node, `auto_pad` worked out. */
export function windowOf(node: Node, args: WindowArguments, kernel: readonly number[]): Window {
  const strides = args.strides ?? kernel.map(() => 1);
  const dilations = args.dilations ?? kernel.map(() => 1);
  const same = args.auto_pad.startsWith('SAME');
  const lengths = node.inputs[0]?.shape?.slice(2);
  const pads = kernel.map((width, i) => {
    if (same) {
      const reach = (width - 1) * dilations[i]! + 1;
      return samePadding(lengths?.[i], strides[i]!, reach, args.auto_pad === 'SAME_UPPER');
    }
    if (args.auto_pad === 'VALID' || !args.pads) return { before: 0, after: 0 };
    return { before: args.pads[i]!, after: args.pads[i + kernel.length]! };
  });
  return { kernel, strides, dilations, pads, same };
}

function samePadding(length: Dim | undefined, stride: number, reach: number, upper: boolean) {
  if (typeof length !== 'number') return undefined;
  const total = Math.max(0, (Math.ceil(length / stride) - 1) * stride + reach - length);
  const small = Math.floor(total / 2);
  return upper ? { before: small, after: total - small } : { before: total - small, after: small };
}

/**
 * How many elements each window of an AveragePool sees, `[...output]`. Padding counts where it is asked for; what lies
 * beyond it never does. Undefined where a length is not known.
 */
export function windowCounts(
  node: Node,
  args: OpArguments['AveragePool'],
  padding: boolean,
): { shape: number[]; numbers: number[] } | undefined {
  const [input, output] = [node.inputs[0]?.shape?.slice(2), node.outputs[0]?.shape?.slice(2)];
  const { kernel, strides, dilations, pads } = windowOf(node, args, args.kernel_shape);
  if (![...(input ?? ['?']), ...(output ?? ['?'])].every((dim) => typeof dim === 'number')) return undefined;
  const along = (output as number[]).map((length, i) => {
    const { before, after } = pads[i]!;
    const inside = input![i] as number;
    const [low, high] = padding ? [-before, inside + after] : [0, inside];
    return Array.from({ length }, (_, window) => {
      const start = window * strides[i]! - before;
      const places = Array.from({ length: kernel[i]! }, (_, k) => start + k * dilations[i]!);
      return places.filter((place) => place >= low && place < high).length;
    });
  });
  const numbers = along.reduce((outer, inner) => outer.flatMap((a) => inner.map((b) => a * b)), [1]);
  return { shape: output as number[], numbers };
}

/** How much a transposed convolution cuts off one axis of what it made, and how long that leaves it. */
export interface TransposedAxis {
  readonly before: number;
  readonly after: number;
  readonly length: number;
}

/** The axes of what a ConvTranspose gives; undefined where a length of its input is not known. */
export function transposedPadding(
  node: Node,
  args: OpArguments['ConvTranspose'],
  kernel: readonly number[],
): TransposedAxis[] | undefined {
  const input = node.inputs[0]?.shape?.slice(2);
  if (!input?.every((dim) => typeof dim === 'number')) return undefined;
  return (input as number[]).map((from, i) => {
    const stride = args.strides?.[i] ?? 1;
    const reach = (kernel[i]! - 1) * (args.dilations?.[i] ?? 1) + 1;
    const whole = stride * (from - 1) + (args.output_padding?.[i] ?? 0) + reach;
    const same = args.auto_pad.startsWith('SAME');
    const wanted = args.output_shape?.[i] ?? (same ? from * stride : undefined);
    if (wanted === undefined) {
      const padded = args.auto_pad === 'NOTSET' && args.pads;
      const [before, after] = padded ? [args.pads![i]!, args.pads![i + kernel.length]!] : [0, 0];
      return { before, after, length: whole - before - after };
    }
    const total = Math.max(0, whole - wanted);
    const small = Math.floor(total / 2);
    const upper = args.auto_pad === 'SAME_UPPER';
    return { before: upper ? small : total - small, after: upper ? total - small : small, length: wanted };
  });
}
