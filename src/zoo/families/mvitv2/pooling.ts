import type { Value } from '../../../graph/graph.ts';
import { conv } from '../../layers/convolution.ts';
import { dimOf, type Layers, lastDim } from '../../layers/layers.ts';
import { averagePool, maxPool } from '../../layers/pool.ts';
import type { Mvitv2Config } from './arguments.ts';

type Pair = readonly [height: number, width: number];

/** A window of a pool or convolution that keeps an image's size but for its stride. */
export interface Strided {
  kernel: Pair;
  stride: Pair;
  padding: Pair;
}

export const strided = (kernel: Pair, stride: Pair): Strided => ({
  kernel,
  stride,
  padding: [Math.floor(kernel[0] / 2), Math.floor(kernel[1] / 2)],
});

/** Queries, keys or values `[N, H, T, D]`, a prefix and then the pixels of an image. */
export interface HeadImage {
  heads: Value;
  size: Pair;
}

/**
 * Each head's image pooled, by a convolution that all heads share or as `mode` says; the prefix stays as it is.
 * With a convolution, a norm follows. A window of one pixel does nothing.
 */
export function pooledHeads(
  layers: Layers,
  name: 'q' | 'k' | 'v',
  { heads: x, size }: HeadImage,
  window: Strided,
  { mode, norm, use_cls_token }: Pick<Mvitv2Config, 'mode' | 'norm' | 'use_cls_token'>,
): HeadImage {
  if ([...window.kernel, ...window.stride].every((length) => length === 1)) return { heads: x, size };
  const b = layers.builder;
  const [heads, width] = [dimOf(x, 1), lastDim(x)];
  const pixels = use_cls_token ? cut(layers, x, 1, Number.MAX_SAFE_INTEGER, `${name}_pixels`) : x;
  const images = b.op('Reshape', [pixels, b.ints([-1, ...size, width])], {}, `${name}_images`);
  const first = b.op('Transpose', [images], { perm: [0, 3, 1, 2] }, `${name}_channels_first`);
  const pools = {
    conv: () => conv(layers, `pool_${name}`, first, width, { ...window, groups: width, bias: false }),
    avg: () => averagePool(layers, first, window),
    max: () => maxPool(layers, first, window),
  };
  const pooled = pools[mode]();
  const smaller = [dimOf(pooled, 2), dimOf(pooled, 3)] as const;
  const count = smaller[0] * smaller[1];
  const boxed = b.op('Reshape', [pooled, b.ints([-1, heads, width, count])], {}, `${name}_heads`);
  let tokens = b.op('Transpose', [boxed], { perm: [0, 1, 3, 2] }, `${name}_pooled`);
  if (use_cls_token) {
    tokens = b.op('Concat', [cut(layers, x, 0, 1, `${name}_prefix`), tokens], { axis: 2 }, `${name}_all`);
  }
  return { heads: mode === 'conv' ? layers.norm(`norm_${name}`, tokens, norm) : tokens, size: smaller };
}

/** Tokens of `[N, H, T, D]` from one to before another. */
export function cut(layers: Layers, x: Value, from: number, to: number, name: string): Value {
  const b = layers.builder;
  return b.op('Slice', [x, b.ints([from]), b.ints([to]), b.ints([2])], {}, name);
}
