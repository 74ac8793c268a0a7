import type { Value } from '../../../graph/graph.ts';
import { channelAttention } from '../../layers/channel-attention.ts';
import { classAttention } from '../../layers/class-attention.ts';
import { batchNorm, conv } from '../../layers/convolution.ts';
import { type Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { leadingTokens, withoutPrefix } from '../../layers/pool.ts';
import type { XcitArgs } from './arguments.ts';

type Size = readonly [height: number, width: number];

const hiddenUnits = (x: Value, args: XcitArgs) => Math.trunc(lastDim(x) * args.mlp_ratio);

/** `x` times a vector of its own, which starts at `eta`. */
function scaled(layers: Layers, name: string, x: Value, { eta }: XcitArgs): Value {
  const gamma = layers.parameter(name, [lastDim(x)], { kind: 'constant', value: eta });
  return layers.builder.op('Mul', [x, gamma], {}, `${name}.scaled`);
}

/** Attention between channels, convolutions between patches, and an MLP, each normed before and scaled after. */
export function xcaBlock(layers: Layers, x: Value, args: XcitArgs, size: Size): Value {
  const branch = (input: Value, index: number, body: (normed: Value) => Value) => {
    const output = scaled(layers, `gamma${index}`, body(layers.norm(`norm${index}`, input, args.norm)), args);
    return layers.builder.op('Add', [input, output], {}, `residual${index}`);
  };
  const attended = branch(x, 1, (normed) =>
    layers.scope('attn', () => channelAttention(layers, normed, args.num_heads, args.qkv_bias)),
  );
  const mixed = branch(attended, 3, (normed) =>
    layers.scope('local_mp', () => localInteraction(layers, normed, args, size)),
  );
  return branch(mixed, 2, (normed) => plainMlp(layers, normed, hiddenUnits(x, args), args.activation));
}

function localInteraction(layers: Layers, x: Value, args: XcitArgs, size: Size): Value {
  const groups = lastDim(x);
  const depthwise = { kernel: 3, padding: 1, groups };
  const first = conv(layers, 'conv1', tokensToImage(layers, x, size), groups, depthwise);
  const normed = batchNorm(layers, 'bn', layers.activation(first, args.activation));
  return imageToTokens(layers, conv(layers, 'conv2', normed, groups, depthwise));
}

/**
 * The class token attends to all tokens and goes through the MLP. The other tokens take part in the residuals with
 * their normed values, as in the models that were trained.
 */
export function classAttentionBlock(layers: Layers, x: Value, args: XcitArgs): Value {
  const b = layers.builder;
  const withToken = (token: Value, rest: Value, name: string) =>
    b.op('Concat', [token, withoutPrefix(layers, rest, 1)], { axis: 1 }, name);
  const normed = layers.norm('norm1', x, args.norm);
  const token = layers.scope('attn', () =>
    classAttention(layers, normed, { heads: args.num_heads, qkvBias: args.qkv_bias }),
  );
  const attended = scaled(layers, 'gamma1', withToken(token, normed, 'attended'), args);
  const middle = b.op('Add', [x, attended], {}, 'residual1');
  const again = args.tokens_norm
    ? layers.norm('norm2', middle, args.norm)
    : withToken(layers.norm('norm2', leadingTokens(layers, middle, 1), args.norm), middle, 'token_normed');
  const first = leadingTokens(layers, again, 1);
  const fed = scaled(layers, 'gamma2', plainMlp(layers, first, hiddenUnits(x, args), args.activation), args);
  return b.op('Add', [again, withToken(fed, again, 'fed')], {}, 'residual2');
}
