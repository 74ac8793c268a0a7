import type { Value } from '../../../graph/graph.ts';
import { conv } from '../../layers/convolution.ts';
import type { ActivationName, NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { maxPool } from '../../layers/pool.ts';
import { squeezeExcite } from '../../layers/squeeze-excite.ts';
import { makeDivisible } from '../../layers/widths.ts';

/** timm's `MbConvBlock` of gcvit.py: a depthwise convolution, squeeze and excitation, a pointwise one, around it x. */
function mbConv(layers: Layers, name: string, x: Value, activation: ActivationName): Value {
  const width = dimOf(x, 1);
  return layers.scope(name, () => {
    const spread = conv(layers, 'conv_dw', x, width, { kernel: 3, padding: 1, groups: width, bias: false });
    const excited = squeezeExcite(layers, 'se', layers.activation(spread, activation), {
      reduced: makeDivisible(width / 4, 8, 0),
      activation,
      bias: false,
    });
    const mixed = conv(layers, 'conv_pw', excited, width, { kernel: 1, bias: false });
    return layers.builder.op('Add', [mixed, x], {}, 'residual');
  });
}

/** timm's `Downsample2d` of gcvit.py: `[N, C, H, W] -> [N, width, H/2, W/2]`, sizes rounded up. */
export function halved(
  layers: Layers,
  x: Value,
  width: number,
  { norm, activation }: { norm: NormSpec; activation: ActivationName },
): Value {
  const seen = mbConv(layers, 'conv_block', layers.channelNorm('norm1', x, norm), activation);
  const reduced = conv(layers, 'reduction', seen, width, { kernel: 3, stride: 2, padding: 1, bias: false });
  return layers.channelNorm('norm2', reduced, norm);
}

/** timm's `FeatureBlock`: the image halved so often that it is a window; one convolution at least. */
export function summary(layers: Layers, x: Value, halvings: number): Value {
  let image = x;
  for (let i = 1; i <= Math.max(halvings, 1); i++) {
    image = mbConv(layers, `conv${i}`, image, 'gelu');
    if (i <= halvings) {
      image = layers.scope(`pool${i}`, () => maxPool(layers, image, { kernel: 3, stride: 2, padding: 1 }));
    }
  }
  return image;
}
