import { UserError } from '../../../common/errors.ts';
import type { Value } from '../../../graph/graph.ts';
import { Tensor } from '../../../graph/tensor.ts';
import { bounded } from '../../bounded.ts';
import { joinHeads, scaledDotProduct, splitPacked } from '../../layers/attention.ts';
import { dimOf, type Layers, lastDim } from '../../layers/layers.ts';
import type { Mvitv2Config } from './arguments.ts';
import type { BlockPlan, TokenImage } from './plan.ts';
import { cut, type HeadImage, pooledHeads } from './pooling.ts';

/** timm's `MultiScaleAttention`: queries, keys and values pooled; the pooled queries are added to what comes out. */
export function pooledAttention(
  layers: Layers,
  x: TokenImage,
  cfg: Mvitv2Config,
  plan: BlockPlan,
): TokenImage {
  const { width, heads } = plan;
  const packed = layers.linear('qkv', x.tokens, 3 * width, { bias: cfg.qkv_bias });
  const parts = splitPacked(layers, packed, ['q', 'k', 'v'], heads);
  const [q, k, v] = (['q', 'k', 'v'] as const).map((name, i) =>
    pooledHeads(layers, name, { heads: parts[i]!, size: x.size }, name === 'q' ? plan.q : plan.kv, cfg),
  ) as [HeadImage, HeadImage, HeadImage];
  const biases = cfg.rel_pos_type === 'spatial' ? [relativeScores(layers, q, k, x, plan)] : [];
  const attended = scaledDotProduct(layers, q.heads, k.heads, v.heads, { biases });
  const context = cfg.residual_pooling
    ? layers.builder.op('Add', [attended, q.heads], {}, 'residual_pooling')
    : attended;
  return { ...x, tokens: layers.linear('proj', joinHeads(layers, context), width), size: q.size };
}

/**
 * What queries say of rows and columns, by how far they are: their products with learned vectors, of which each
 * distance has one. `[N, H, T, T']`, nothing for the prefix.
 */
function relativeScores(
  layers: Layers,
  q: HeadImage,
  k: HeadImage,
  { size, prefix }: TokenImage,
  plan: BlockPlan,
): Value {
  const b = layers.builder;
  const [heads, width] = [dimOf(q.heads, 1), lastDim(q.heads)];
  // The sizes timm makes its tables for, which are those of the images where strides divide them.
  const [ofQueries, ofKeys] = [plan.q, plan.kv].map(({ stride }) => Math.floor(size[0] / stride[1]));
  const rows = 2 * Math.max(ofQueries!, ofKeys!) - 1;
  const vectors = (name: string, axis: 0 | 1) => {
    const start = { kind: 'truncatedNormal', std: 0.02 } as const;
    const table = layers.parameter(name, [rows, width], start, { kind: 'distances' });
    const distances = distanceRows(q.size[axis], k.size[axis]);
    if (Math.max(...distances) >= rows) {
      throw new UserError(
        `an image of ${size} can't be pooled evenly: img_size must be a multiple of all strides`,
      );
    }
    const index = layers.constant(`${name}_index`, Tensor.int64(distances, [q.size[axis], k.size[axis]]));
    const picked = b.op('Gather', [table, index], { axis: 0 }, `${name}_by_pair`);
    return b.op('Transpose', [picked], { perm: [0, 2, 1] }, `${name}_t`);
  };
  const pixels = prefix ? cut(layers, q.heads, prefix, Number.MAX_SAFE_INTEGER, 'q_of_pixels') : q.heads;
  const image = b.op('Reshape', [pixels, b.ints([0, 0, ...q.size, -1])], {}, 'q_image');
  const byRow = b.op('MatMul', [image, vectors('rel_pos_h', 0)], {}, 'scores_by_row');
  const turned = b.op('Transpose', [image], { perm: [0, 1, 3, 2, 4] }, 'q_turned');
  const turnedScores = b.op('MatMul', [turned, vectors('rel_pos_w', 1)], {}, 'scores_by_column_turned');
  const byColumn = b.op('Transpose', [turnedScores], { perm: [0, 1, 3, 2, 4] }, 'scores_by_column');
  const sum = b.op(
    'Add',
    [
      b.op('Unsqueeze', [byRow, b.ints([5])], {}, 'of_rows'),
      b.op('Unsqueeze', [byColumn, b.ints([4])], {}, 'of_columns'),
    ],
    {},
    'relative',
  );
  const [from, to] = [q.size[0] * q.size[1], k.size[0] * k.size[1]];
  const flat = b.op('Reshape', [sum, b.ints([0, heads, from, to])], {}, 'relative_scores');
  if (!prefix) return flat;
  return b.op('Pad', [flat, b.ints([0, 0, prefix, prefix, 0, 0, 0, 0])], {}, 'relative_padded');
}

/** For each place of a query and of a key along an axis, the row of their distance in the finer of the two. */
function distanceRows(queries: number, keys: number): number[] {
  const [ofQuery, ofKey] = [Math.max(keys / queries, 1), Math.max(queries / keys, 1)];
  return Array.from({ length: bounded(queries * keys) }, (_, i) => {
    const [query, key] = [Math.floor(i / keys), i % keys];
    return Math.trunc(query * ofQuery - key * ofKey + (keys - 1) * ofKey);
  });
}
