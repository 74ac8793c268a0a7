import type { Value } from '../../graph/graph.ts';
import type { Initializer } from '../parameter-source.ts';
import type { NormSpec } from './layer-spec.ts';
import type { Layers } from './layers.ts';

/** The two branches of a transformer block, and what goes with each. */
export interface BlockParts {
  norm: NormSpec;
  attend(x: Value): Value;
  feed(x: Value): Value;
}

const residual = (layers: Layers, x: Value, branch: Value, index: 1 | 2) =>
  layers.builder.op('Add', [x, branch], {}, `residual${index}`);

/** x + scale(attend(norm1(x))), then x + scale(feed(norm2(x))); `scale` is a layer scale, where there is one. */
export function preNormBlock(
  layers: Layers,
  x: Value,
  parts: BlockParts & { scale?(branch: Value, index: 1 | 2): Value },
): Value {
  const { norm, attend, feed, scale = (branch: Value) => branch } = parts;
  const middle = residual(layers, x, scale(attend(layers.norm('norm1', x, norm)), 1), 1);
  return residual(layers, middle, scale(feed(layers.norm('norm2', middle, norm)), 2), 2);
}

/** x + norm1(attend(x)), then x + norm2(feed(x)). */
export function postNormBlock(
  layers: Layers,
  x: Value,
  parts: BlockParts & { normInitializer?: Initializer },
): Value {
  const { norm, attend, feed, normInitializer } = parts;
  const middle = residual(layers, x, layers.norm('norm1', attend(x), norm, normInitializer), 1);
  return residual(layers, middle, layers.norm('norm2', feed(middle), norm, normInitializer), 2);
}
