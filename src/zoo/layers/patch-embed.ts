import type { Value } from '../../graph/graph.ts';
import { conv } from './convolution.ts';
import type { NormSpec } from './layer-spec.ts';
import type { Layers } from './layers.ts';
import { imageToTokens } from './layout.ts';

export interface PatchEmbedOptions {
  patchSize: readonly [height: number, width: number];
  width: number;
  bias?: boolean;
  norm?: NormSpec | undefined;
}

/** Patches as a strided convolution, timm's `PatchEmbed`: `[N, C, H, W] -> [N, patches, width]`. */
export function patchEmbed(layers: Layers, name: string, image: Value, options: PatchEmbedOptions): Value {
  const { patchSize, width, bias = true, norm } = options;
  return layers.scope(name, () => {
    const convolved = conv(layers, 'proj', image, width, { kernel: patchSize, stride: patchSize, bias });
    const patches = imageToTokens(layers, convolved, 'patches');
    return norm ? layers.norm('norm', patches, norm) : patches;
  });
}
