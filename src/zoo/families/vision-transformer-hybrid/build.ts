import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { conv } from '../../layers/convolution.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import type { VisionTransformerArgs } from '../vision-transformer/arguments.ts';
import { buildVisionTransformer } from '../vision-transformer/build.ts';
import { type Backbone, backbones } from './backbones.ts';

/** timm's `HybridEmbed` with its arguments. */
interface HybridEmbed {
  kwargs: { backbone: Backbone; proj?: boolean };
}

/**
 * A VisionTransformer whose patches are cut from the features of a convolutional network.
 * @throws UserError as `buildVisionTransformer`, and where the features can't be cut into patches
 */
export function buildVisionTransformerHybrid(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const { embed_layer, ...args } = modelArgs;
  const { backbone, proj = true } = (embed_layer as HybridEmbed).kwargs;
  return buildVisionTransformer(args, source, (layers, image, resolved) =>
    layers.scope('patch_embed', () => {
      const features = layers.scope('backbone', () =>
        backbones[backbone.made](layers, image, backbone.layers),
      );
      return imageToTokens(layers, proj ? projected(layers, features, resolved) : features, 'patches');
    }),
  );
}

function projected(layers: Layers, features: Value, args: VisionTransformerArgs): Value {
  const { patch_size, embed_dim, pre_norm } = args;
  const size = [dimOf(features, 2), dimOf(features, 3)];
  if (size.some((length, i) => length % patch_size[i]! !== 0)) {
    throw new UserError(
      `img_size ${args.img_size} makes features of ${size}, which patch_size ${patch_size} does not divide`,
    );
  }
  return conv(layers, 'proj', features, embed_dim, {
    kernel: patch_size,
    stride: patch_size,
    bias: !pre_norm,
  });
}
