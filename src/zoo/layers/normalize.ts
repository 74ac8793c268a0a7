import type { Value } from '../../graph/graph.ts';
import type { Layers } from './layers.ts';

/** Divides by the Euclidean length along an axis, which is taken as 1e-12 at least, as PyTorch's `normalize`. */
export function unitLength(layers: Layers, x: Value, axis = -1): Value {
  const b = layers.builder;
  const length = b.op('ReduceL2', [x, b.ints([axis])], { keepdims: 1 }, 'length');
  return b.op('Div', [x, b.op('Clip', [length, b.scalar(1e-12)], {}, 'length_floor')], {}, 'unit');
}
