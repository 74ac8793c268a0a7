import type { Value } from '../../graph/graph.ts';
import { type ConvOptions, conv } from './convolution.ts';
import type { ActivationName } from './layer-spec.ts';
import { dimOf, type Layers } from './layers.ts';

export interface ImageMlpOptions {
  hidden: number;
  activation: ActivationName;
  bias?: boolean;
  /** How a layer of so many inputs and outputs starts. */
  start?(inputs: number, outputs: number): Pick<ConvOptions, 'weightInitializer' | 'biasInitializer'>;
}

/** An MLP of each place of an image, timm's `ConvMlp`, in the scope `mlp`: `[N, C, H, W]` to the same. */
export function imageMlp(layers: Layers, x: Value, options: ImageMlpOptions): Value {
  const { hidden, activation, bias = true, start } = options;
  const pointwise = (name: string, input: Value, channels: number) =>
    conv(layers, name, input, channels, { kernel: 1, bias, ...start?.(dimOf(input, 1), channels) });
  return layers.scope('mlp', () =>
    pointwise('fc2', layers.activation(pointwise('fc1', x, hidden), activation), dimOf(x, 1)),
  );
}
