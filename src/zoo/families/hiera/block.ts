import { UserError } from '../../../common/errors.ts';
import type { Value } from '../../../graph/graph.ts';
import { joinHeads, scaledDotProduct, splitPacked } from '../../layers/attention.ts';
import { type Layers, lastDim } from '../../layers/layers.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { maxOver, meanOver } from '../../layers/pool.ts';
import type { HieraArgs } from './arguments.ts';

/** Tokens of an image: windows one after the other, and so many tokens in each. */
export interface Arrangement {
  windows: number;
  inWindow: number;
}

export interface BlockPlan {
  /** Channels and heads of what comes out. */
  width: number;
  heads: number;
  /** How many tokens become one. */
  pooled: number;
  /** Attention within windows, else of all to all. */
  windowed: boolean;
}

/** timm's `HieraBlock`: `[N, T, C] -> [N, T / pooled, width]`. */
export function block(
  layers: Layers,
  x: Value,
  tokens: Arrangement,
  args: HieraArgs,
  plan: BlockPlan,
): Value {
  const b = layers.builder;
  const scale = (name: string, branch: Value) =>
    args.init_values === undefined ? branch : layers.layerScale(name, branch, args.init_values);
  const normed = layers.norm('norm1', x, args.norm);
  const around = lastDim(x) === plan.width ? x : widened(layers, x, normed, tokens, args, plan);
  const attended = layers.scope('attn', () => attention(layers, normed, tokens, plan));
  const middle = b.op('Add', [around, scale('ls1', attended)], {}, 'residual1');
  const hidden = Math.trunc(plan.width * args.mlp_ratio);
  const fed = plainMlp(layers, layers.norm('norm2', middle, args.norm), hidden);
  return b.op('Add', [middle, scale('ls2', fed)], {}, 'residual2');
}

/** What goes around the attention where it widens: a Linear and a pool, or two pools side by side. */
function widened(
  layers: Layers,
  x: Value,
  normed: Value,
  tokens: Arrangement,
  { use_expand_proj }: HieraArgs,
  { width, pooled }: BlockPlan,
): Value {
  const grouped = (value: Value) => pooledTokens(layers, value, tokens, pooled);
  if (use_expand_proj)
    return maxPooled(layers, grouped(layers.linear('proj', normed, width)), tokens, pooled);
  if (width !== 2 * lastDim(x)) {
    throw new UserError(`without use_expand_proj dim_mul must be 2: ${lastDim(x)} channels become ${width}`);
  }
  const groups = grouped(x);
  const [most, mean] = [maxOver, meanOver].map((pool) =>
    pooled === 1 ? groups : ungrouped(layers, pool(layers, groups, [2]), tokens, pooled),
  ) as [Value, Value];
  return layers.builder.op('Concat', [most, mean], { axis: -1 }, 'widened');
}

/** `[N, T, C] -> [N, windows, pooled, rest, C]`; unchanged where nothing is pooled. */
function pooledTokens(layers: Layers, x: Value, { windows, inWindow }: Arrangement, pooled: number): Value {
  if (pooled === 1) return x;
  const b = layers.builder;
  return b.op('Reshape', [x, b.ints([0, windows, pooled, inWindow / pooled, -1])], {}, 'pooled_together');
}

/** `[N, windows, rest, C] -> [N, T / pooled, C]`. */
function ungrouped(layers: Layers, x: Value, { windows, inWindow }: Arrangement, pooled: number): Value {
  const b = layers.builder;
  return b.op('Reshape', [x, b.ints([0, (windows * inWindow) / pooled, -1])], {}, 'pooled_tokens');
}

const maxPooled = (layers: Layers, groups: Value, tokens: Arrangement, pooled: number): Value =>
  pooled === 1 ? groups : ungrouped(layers, maxOver(layers, groups, [2]), tokens, pooled);

/** timm's `MaskUnitAttention`: queries are pooled, keys and values are not. */
function attention(layers: Layers, x: Value, tokens: Arrangement, plan: BlockPlan): Value {
  const b = layers.builder;
  const { width, heads, pooled, windowed } = plan;
  const { windows, inWindow } = windowed ? { windows: 1, inWindow: tokens.inWindow } : tokens;
  const apart = windowed && tokens.windows > 1;
  const own = apart ? b.op('Reshape', [x, b.ints([-1, inWindow, lastDim(x)])], {}, 'windows') : x;
  const packed = layers.linear('qkv', own, 3 * width);
  const [q, k, v] = splitPacked(layers, packed, ['q', 'k', 'v'], heads) as [Value, Value, Value];
  let queries = q;
  if (pooled > 1) {
    const boxed = b.op('Reshape', [q, b.ints([0, 0, windows, pooled, inWindow / pooled, -1])], {}, 'q_boxed');
    const most = maxOver(layers, boxed, [3]);
    queries = b.op('Reshape', [most, b.ints([0, 0, (windows * inWindow) / pooled, -1])], {}, 'q_pooled');
  }
  const context = joinHeads(layers, scaledDotProduct(layers, queries, k, v));
  const projected = layers.linear('proj', context, width);
  if (!apart) return projected;
  const count = (tokens.windows * tokens.inWindow) / pooled;
  return b.op('Reshape', [projected, b.ints([-1, count, width])], {}, 'tokens');
}
