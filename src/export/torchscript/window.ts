import type { Node } from '../../graph/graph.ts';
import type { Lowering } from './lowering.ts';

/** Padding of a sliding window: the same at both ends of each axis, or an explicit one put before it. */
export interface WindowPads {
  symmetric: number[];
  /** For `constant_pad_nd`: begin and end of each axis, the last axis first. */
  explicit: number[] | undefined;
}

/** The padding of a convolution or pooling node, `auto_pad` worked out. */
export function windowPads(node: Node, kernel: readonly number[], lower: Lowering): WindowPads {
  const rank = kernel.length;
  const begin = Array<number>(rank).fill(0);
  const end = Array<number>(rank).fill(0);
  const auto = node.string('auto_pad', 'NOTSET');
  if (auto.startsWith('SAME')) {
    const input = node.input(0).shape?.slice(2) ?? [];
    const strides = node.ints('strides', Array(rank).fill(1));
    const dilations = node.ints('dilations', Array(rank).fill(1));
    kernel.forEach((width, i) => {
      const length = input[i];
      if (typeof length !== 'number') throw lower.unsupported(node, `auto_pad ${auto} of an unknown length`);
      const reach = (width - 1) * dilations[i]! + 1;
      const total = Math.max(0, (Math.ceil(length / strides[i]!) - 1) * strides[i]! + reach - length);
      const small = Math.floor(total / 2);
      begin[i] = auto === 'SAME_UPPER' ? small : total - small;
      end[i] = total - begin[i]!;
    });
  } else if (auto === 'NOTSET') {
    const pads = node.ints('pads', Array(2 * rank).fill(0));
    kernel.forEach((_, i) => {
      begin[i] = pads[i]!;
      end[i] = pads[i + rank]!;
    });
  }
  if (begin.every((pad, i) => pad === end[i])) return { symmetric: begin, explicit: undefined };
  return {
    symmetric: Array(rank).fill(0),
    explicit: begin
      .flatMap((pad, i) => [[pad, end[i]!]])
      .reverse()
      .flat(),
  };
}
