import type { Value } from '../../../graph/graph.ts';
import { bounded } from '../../bounded.ts';
import { joinHeads, splitHeads } from '../../layers/attention.ts';
import { batchNorm, convNormAct } from '../../layers/convolution.ts';
import { joinImageHeads, splitImageHeads } from '../../layers/image-heads.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import type { Initializer } from '../../parameter-source.ts';

const names = ['linear', 'bn'] as const;

/**
 * A projection and its BatchNorm, without a bias, in one of the forms that LeViT has: of images by a 1x1
 * convolution, of tokens by a Linear.
 * @param weight where the norm's weight starts
 */
export type Projection = (layers: Layers, name: string, x: Value, width: number, weight?: number) => Value;

const ofImages: Projection = (layers, name, x, width, weight = 1) =>
  convNormAct(layers, name, x, width, {
    kernel: 1,
    names,
    norm: { weightInitializer: { kind: 'constant', value: weight } },
  });

/** A BatchNorm of tokens `[N, T, C]` takes each for itself: `[N * T, C]`. */
const ofTokens: Projection = (layers, name, x, width, weight = 1) => {
  const b = layers.builder;
  const weightInitializer: Initializer = { kind: 'constant', value: weight };
  return layers.scope(name, () => {
    const projected = layers.linear(names[0], x, width, { bias: false });
    const flat = b.op('Reshape', [projected, b.ints([-1, width])], {}, 'flat');
    const normed = batchNorm(layers, names[1], flat, { weightInitializer });
    return b.op('Reshape', [normed, b.ints([-1, dimOf(x, 1), width])], {}, 'tokens');
  });
};

type Size = readonly [height: number, width: number];

/** What LeViT does alike with images `[N, C, H, W]` and with tokens `[N, T, C]`. */
export interface Form {
  project: Projection;
  /** `-> [N, heads, T, D]`. */
  splitHeads(layers: Layers, x: Value, heads: number): Value;
  /** `[N, heads, T, D] ->` of an image of `size`. */
  joinHeads(layers: Layers, x: Value, size: Size): Value;
  /** Every other row and column of an image of `size`. */
  subsample(layers: Layers, x: Value, size: Size): Value;
  /** Axes of the positions. */
  positions: readonly number[];
}

export const imageForm: Form = {
  project: ofImages,
  splitHeads: splitImageHeads,
  joinHeads: joinImageHeads,
  subsample(layers, x) {
    const b = layers.builder;
    const end = Number.MAX_SAFE_INTEGER;
    return b.op(
      'Slice',
      [x, b.ints([0, 0]), b.ints([end, end]), b.ints([2, 3]), b.ints([2, 2])],
      {},
      'subsampled',
    );
  },
  positions: [2, 3],
};

export const tokenForm: Form = {
  project: ofTokens,
  splitHeads,
  joinHeads,
  subsample(layers, x, [height, width]) {
    const kept = Array.from({ length: bounded(height * width) }, (_, i) => i).filter(
      (i) => Math.floor(i / width) % 2 === 0 && (i % width) % 2 === 0,
    );
    return layers.builder.op('Gather', [x, layers.builder.ints(kept)], { axis: 1 }, 'subsampled');
  },
  positions: [1],
};
