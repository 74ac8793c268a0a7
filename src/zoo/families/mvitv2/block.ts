import type { Value } from '../../../graph/graph.ts';
import { type Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { mlp } from '../../layers/mlp.ts';
import { leadingTokens, maxPool, withoutPrefix } from '../../layers/pool.ts';
import type { Mvitv2Config } from './arguments.ts';
import { pooledAttention } from './attention.ts';
import type { BlockPlan, TokenImage } from './plan.ts';

/** timm's `MultiScaleBlock`: attention that makes the image smaller, then an MLP; one of the two widens. */
export function block(layers: Layers, x: TokenImage, cfg: Mvitv2Config, plan: BlockPlan): TokenImage {
  const b = layers.builder;
  const width = cfg.expand_attn ? plan.width : lastDim(x.tokens);
  const widens = lastDim(x.tokens) !== plan.width;
  const normed = layers.norm('norm1', x.tokens, cfg.norm);
  const around = widens && cfg.expand_attn ? layers.linear('shortcut_proj_attn', normed, width) : x.tokens;
  const pooled = pooledShortcut(layers, { ...x, tokens: around }, plan.q.stride);
  const attended = layers.scope('attn', () =>
    pooledAttention(layers, { ...x, tokens: normed }, cfg, { ...plan, width }),
  );
  const middle = b.op('Add', [pooled, attended.tokens], {}, 'residual1');
  const normedAgain = layers.norm('norm2', middle, cfg.norm);
  const aroundMlp =
    widens && !cfg.expand_attn ? layers.linear('shortcut_proj_mlp', normedAgain, plan.width) : middle;
  const fed = mlp(
    layers,
    normedAgain,
    { kind: 'Mlp', activation: 'gelu', gateLast: true },
    { hidden: Math.trunc(width * cfg.mlp_ratio), bias: true, norm: undefined, outputs: plan.width },
  );
  return { ...attended, tokens: b.op('Add', [aroundMlp, fed], {}, 'residual2') };
}

/** The tokens around an attention that makes the image smaller: the largest of those that become one. */
function pooledShortcut(
  layers: Layers,
  { tokens, size, prefix }: TokenImage,
  stride: readonly [number, number],
): Value {
  if (stride[0] * stride[1] === 1) return tokens;
  const kernel = stride.map((step) => (step > 1 ? step + 1 : step)) as [number, number];
  const padding = kernel.map((length) => Math.floor(length / 2)) as [number, number];
  const image = tokensToImage(layers, withoutPrefix(layers, tokens, prefix), size);
  const pooled = imageToTokens(layers, maxPool(layers, image, { kernel, stride, padding }), 'shortcut');
  if (prefix === 0) return pooled;
  const first = leadingTokens(layers, tokens, prefix);
  return layers.builder.op('Concat', [first, pooled], { axis: 1 }, 'shortcut_tokens');
}
