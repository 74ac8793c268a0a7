import type { Value } from '../../graph/graph.ts';
import { type ConvOptions, conv } from './convolution.ts';
import type { NormSpec } from './layer-spec.ts';
import type { Layers } from './layers.ts';
import { channelsLast, imageToTokens } from './layout.ts';

export interface PatchEmbedOptions
  extends Pick<ConvOptions, 'padding' | 'weightInitializer' | 'biasInitializer'> {
  patchSize: readonly [height: number, width: number];
  /** Default: that of the patches, which then do not overlap. */
  stride?: number;
  width: number;
  bias?: boolean;
  norm?: NormSpec | undefined;
}

/** Patches as a strided convolution, timm's `PatchEmbed`: `[N, C, H, W] -> [N, patches, width]`. */
export function patchEmbed(layers: Layers, name: string, image: Value, options: PatchEmbedOptions): Value {
  const { patchSize, width, stride = patchSize, norm, ...rest } = options;
  return layers.scope(name, () => {
    const convolved = conv(layers, 'proj', image, width, { kernel: patchSize, stride, ...rest });
    const patches = imageToTokens(layers, convolved, 'patches');
    return norm ? layers.norm('norm', patches, norm) : patches;
  });
}

/** The same, left in their places: `[N, C, H, W] -> [N, rows, columns, width]`. */
export function imagePatches(layers: Layers, name: string, image: Value, options: PatchEmbedOptions): Value {
  const { patchSize, width, norm, ...rest } = options;
  return layers.scope(name, () => {
    const convolved = conv(layers, 'proj', image, width, { kernel: patchSize, stride: patchSize, ...rest });
    const patches = channelsLast(layers, convolved);
    return norm ? layers.norm('norm', patches, norm) : patches;
  });
}
