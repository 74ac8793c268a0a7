import { UserError } from '../../../common/errors.ts';
import type { Value } from '../../../graph/graph.ts';
import type { ArchitectureBuilder } from '../../family.ts';
import { conv } from '../../layers/convolution.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import type { VisionTransformerArgs } from '../vision-transformer/arguments.ts';
import { buildVisionTransformer } from '../vision-transformer/build.ts';
import { type Backbone, backbones } from './backbones.ts';

/** A convolutional network before patches: how timm's entry point made it, as the table or `namedArgs` says. */
type Network = (layers: Layers, image: Value, backbone: object) => Value;

/** timm's `HybridEmbed` with its arguments. */
interface HybridEmbed {
  kwargs: { backbone: object; proj?: boolean };
}

/**
 * A builder of VisionTransformers whose patches are cut from the features of a convolutional network, and throws
 * a UserError as `buildVisionTransformer`, and where patches can't be made of the features.
 */
export const hybridBuilder =
  (network: Network): ArchitectureBuilder =>
  (modelArgs, source) => {
    const { embed_layer, ...args } = modelArgs;
    const { backbone, proj = true } = (embed_layer as HybridEmbed).kwargs;
    return buildVisionTransformer(args, source, (layers, image, resolved) =>
      layers.scope('patch_embed', () => {
        const features = layers.scope('backbone', () => network(layers, image, backbone));
        return imageToTokens(layers, (proj ? projected : unprojected)(layers, features, resolved), 'patches');
      }),
    );
  };

/** @throws UserError on arguments that can't be combined */
export const buildVisionTransformerHybrid = hybridBuilder((layers, image, backbone) => {
  const { made, layers: depths } = backbone as Backbone;
  return backbones[made](layers, image, depths);
});

function unprojected(_layers: Layers, features: Value, { embed_dim }: VisionTransformerArgs): Value {
  const width = dimOf(features, 1);
  if (width !== embed_dim) {
    throw new UserError(`embed_dim ${embed_dim} is not the ${width} channels of the convolutions before it`);
  }
  return features;
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
