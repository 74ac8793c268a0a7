import type { Node } from '../../graph/graph.ts';
import type { Window } from '../../graph/schema/window.ts';
import type { Lowering } from './lowering.ts';

/** Padding of a sliding window: the same at both ends of each axis, or an explicit one put before it. */
export interface WindowPads {
  symmetric: number[];
  /** For `constant_pad_nd`: begin and end of each axis, the last axis first. */
  explicit: number[] | undefined;
}

/** The padding of the window of a convolution or pooling node. */
export function windowPads(node: Node, { pads, kernel }: Window, lower: Lowering): WindowPads {
  const known = pads.map((pad) => {
    if (!pad) throw lower.unsupported(node, 'auto_pad of an unknown length');
    return pad;
  });
  if (known.every(({ before, after }) => before === after)) {
    return { symmetric: known.map(({ before }) => before), explicit: undefined };
  }
  return {
    symmetric: kernel.map(() => 0),
    explicit: known.toReversed().flatMap(({ before, after }) => [before, after]),
  };
}
