import type { Value } from '../../graph/graph.ts';
import { dimOf, type Layers } from './layers.ts';

/** Layer scale of an image `[N, C, H, W]`, timm's `LayerScale2d`: a learned factor for each channel. */
export function imageScale(layers: Layers, name: string, x: Value, value: number): Value {
  const b = layers.builder;
  return layers.scope(name, () => {
    const gamma = layers.parameter('gamma', [dimOf(x, 1)], { kind: 'constant', value });
    return b.op('Mul', [x, b.op('Unsqueeze', [gamma, b.ints([1, 2])], {}, 'gamma_image')], {}, 'scaled');
  });
}
