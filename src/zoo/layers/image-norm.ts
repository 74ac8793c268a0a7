import type { Value } from '../../graph/graph.ts';
import { batchNorm } from './convolution.ts';
import type { NormSpec } from './layer-spec.ts';
import type { Layers } from './layers.ts';

/** Norms of images, timm's `LayerNorm2d` and `BatchNorm2d`. */
export type ImageNormSpec = NormSpec | { kind: 'batch'; epsilon: number };

/** A norm of the channels of an image `[N, C, H, W]`. */
export const imageNorm = (layers: Layers, name: string, x: Value, spec: ImageNormSpec): Value =>
  spec.kind === 'batch'
    ? batchNorm(layers, name, x, { epsilon: spec.epsilon })
    : layers.channelNorm(name, x, spec);

/** The same norm of features `[N, C]`. */
export const featureNorm = (layers: Layers, name: string, x: Value, spec: ImageNormSpec): Value =>
  spec.kind === 'batch' ? batchNorm(layers, name, x, { epsilon: spec.epsilon }) : layers.norm(name, x, spec);
