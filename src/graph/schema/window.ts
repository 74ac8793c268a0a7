import type { Dim, Node } from '../types.ts';

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
