import type { Value } from '../../graph/graph.ts';
import { dimOf, type Layers } from './layers.ts';

/**
 * Layer scale of an image `[N, C, H, W]`, timm's `LayerScale2d`: a learned factor for each channel, `[C]` or, where
 * it is `boxed`, `[C, 1, 1]`.
 */
export function imageScale(layers: Layers, name: string, x: Value, value: number, boxed = false): Value {
  const b = layers.builder;
  return layers.scope(name, () => {
    const shape = boxed ? [dimOf(x, 1), 1, 1] : [dimOf(x, 1)];
    const gamma = layers.parameter('gamma', shape, { kind: 'constant', value });
    const factors = boxed ? gamma : b.op('Unsqueeze', [gamma, b.ints([1, 2])], {}, 'gamma_image');
    return b.op('Mul', [x, factors], {}, 'scaled');
  });
}
