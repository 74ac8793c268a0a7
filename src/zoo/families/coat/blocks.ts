import type { Value } from '../../../graph/graph.ts';
import { joinHeads, splitPacked } from '../../layers/attention.ts';
import { dimOf, type Layers, lastDim } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { leadingTokens, withoutPrefix } from '../../layers/pool.ts';
import { resample } from '../../layers/resample.ts';
import type { CoatArgs } from './arguments.ts';
import type { PositionEncoding, RelativeEncoding } from './shared-convolutions.ts';

/** What the blocks of a scale have in common. */
export interface Scale {
  /** 1 to 4. */
  number: number;
  size: readonly [height: number, width: number];
  mlpRatio: number;
  position: PositionEncoding;
  relative: RelativeEncoding;
}

const add = (layers: Layers, a: Value, b: Value, name: string): Value =>
  layers.builder.op('Add', [a, b], {}, name);

/**
 * Attention whose cost grows with the tokens, not with their square: q (softmax(k)^T v) with the softmax over tokens,
 * and what convolutions see near the values. `[N, T, C]` to the same.
 */
function factorAttention(layers: Layers, name: string, x: Value, args: CoatArgs, scale: Scale): Value {
  const b = layers.builder;
  const { num_heads: heads, qkv_bias: bias } = args;
  return layers.scope(name, () => {
    layers.moduleAlias('crpe', `crpe${scale.number}`);
    const width = lastDim(x);
    const packed = layers.linear('qkv', x, 3 * width, { bias });
    const [q, k, v] = splitPacked(layers, packed, ['q', 'k', 'v'], heads) as [Value, Value, Value];
    const weights = b.op('Softmax', [k], { axis: -2 }, 'softmax');
    const byChannel = b.op('Transpose', [weights], { perm: [0, 1, 3, 2] }, 'weights_by_channel');
    const summary = b.op('MatMul', [byChannel, v], {}, 'summary');
    const scaled = b.op('Mul', [summary, b.scalar((width / heads) ** -0.5)], {}, 'scaled');
    const context = b.op('MatMul', [q, scaled], {}, 'context');
    const attended = add(layers, context, scale.relative(q, v), 'attended');
    return layers.linear('proj', joinHeads(layers, attended), width);
  });
}

/** A block of one scale, `[N, T, C]` to the same. */
export function serialBlock(layers: Layers, x: Value, args: CoatArgs, scale: Scale): Value {
  layers.moduleAlias('cpe', `cpe${scale.number}`);
  const placed = scale.position(x);
  const normed = layers.norm('norm1', placed, args.norm);
  const attended = factorAttention(layers, 'factoratt_crpe', normed, args, scale);
  const middle = add(layers, placed, attended, 'residual1');
  const hidden = Math.trunc(lastDim(x) * scale.mlpRatio);
  const fed = plainMlp(layers, layers.norm('norm2', middle, args.norm), hidden);
  return add(layers, middle, fed, 'residual2');
}

/** A block of several scales at once, which tell each other what they found and share an MLP. */
export function parallelBlock(
  layers: Layers,
  xs: readonly Value[],
  args: CoatArgs,
  scales: readonly Scale[],
): Value[] {
  const b = layers.builder;
  const attended = scales.map((scale, i) => {
    const normed = layers.norm(`norm1${scale.number}`, xs[i]!, args.norm);
    return factorAttention(layers, `factoratt_crpe${scale.number}`, normed, args, scale);
  });
  const middle = exchange(layers, attended, scales).map((all, i) => add(layers, xs[i]!, all, 'residual1'));
  const normed = scales.map(({ number }, i) => layers.norm(`norm2${number}`, middle[i]!, args.norm));
  const fed = sharedMlp(layers, b.op('Concat', normed, { axis: 1 }, 'all_scales'), scales);
  const lengths = b.ints(xs.map((x) => dimOf(x, 1)));
  const parts = b.node('Split', [fed, lengths], { axis: 1 }, xs.length, 'fed');
  return middle.map((x, i) => add(layers, x, parts.output(i), 'residual2'));
}

/** Adds to the tokens of each scale those of the others, their images brought to its size. */
function exchange(layers: Layers, xs: readonly Value[], scales: readonly Scale[]): Value[] {
  const sum = (values: readonly Value[], name: string) =>
    values.reduce((all, value) => add(layers, all, value, name));
  const tokens = xs.map((x) => leadingTokens(layers, x, 1));
  const classes = sum(tokens, 'classes');
  const images = xs.map((x, i) => tokensToImage(layers, withoutPrefix(layers, x, 1), scales[i]!.size));
  return scales.map(({ size }) => {
    const resized = images.map((image) => resample(layers, image, size, 'bilinear'));
    const places = imageToTokens(layers, sum(resized, 'images'));
    return layers.builder.op('Concat', [classes, places], { axis: 1 }, 'exchanged');
  });
}

/** The MLP of all scales; timm has it under the name of each. */
function sharedMlp(layers: Layers, x: Value, scales: readonly Scale[]): Value {
  const [first, ...others] = scales.map(({ number }) => `mlp${number}`);
  const width = lastDim(x);
  const fed = layers.scope(first!, () => {
    const hidden = layers.linear('fc1', x, Math.trunc(width * scales[0]!.mlpRatio));
    return layers.linear('fc2', layers.activation(hidden, 'gelu'), width);
  });
  for (const name of others) layers.moduleAlias(name, layers.builder.scoped(first!));
  return fed;
}
