import type { Value } from '../../graph/graph.ts';
import { batchNorm } from './convolution.ts';
import { featureNorm, type ImageNormSpec } from './image-norm.ts';
import { type Layers, type LinearOptions, linearInitializer } from './layers.ts';
import { type GlobalPoolName, globalPools } from './pool.ts';

export interface ClassifierHeadOptions extends LinearOptions {
  /** 0: the pooled, normed features. */
  classes: number;
  pool: GlobalPoolName;
  /** Axes of the positions: `[2, 3]` of `[N, C, H, W]`, `[1, 2]` with channels last, `[1]` of tokens. */
  axes: readonly number[];
  /** Norm of the pooled features, `NAME.norm`. */
  norm?: ImageNormSpec;
  /** Units of a layer with a tanh before the classes, `NAME.pre_logits.fc`. */
  hidden?: number | undefined;
}

/** timm's `ClassifierHead`, and with a norm its `NormMlpClassifierHead`: pool, norm, `NAME.fc`. */
export function classifierHead(
  layers: Layers,
  name: string,
  x: Value,
  { classes, pool, axes, norm, hidden, ...linear }: ClassifierHeadOptions,
): Value {
  return layers.scope(name, () => {
    const pooled = globalPools[pool](layers, x, axes);
    const normed = norm ? featureNorm(layers, 'norm', pooled, norm) : pooled;
    const features = hidden
      ? layers.activation(layers.linear('pre_logits.fc', normed, hidden), 'tanh')
      : normed;
    return classes > 0 ? layers.linear('fc', features, classes, linear) : features;
  });
}

/** What a model distilled by a token says outside distillation: the mean of its two heads. */
export function meanOfHeads(layers: Layers, heads: readonly [Value, Value]): Value {
  const b = layers.builder;
  return b.op('Mul', [b.op('Add', heads, {}, 'heads'), b.scalar(0.5)], {}, 'mean');
}

/** A BatchNorm of the features `[N, C]` and a Linear, `NAME.bn` and `NAME.linear`; without classes the features. */
export function batchNormHead(
  layers: Layers,
  name: string,
  features: Value,
  classes: number,
  linear = 'linear',
): Value {
  if (classes === 0) return features;
  return layers.linear(`${name}.${linear}`, batchNorm(layers, `${name}.bn`, features), classes, {
    weightInitializer: linearInitializer,
    biasInitializer: { kind: 'constant', value: 0 },
  });
}
