import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Initializer } from '../parameter-source.ts';
import type { NormSpec } from './layer-spec.ts';
import { type Layers, lastDim } from './layers.ts';

export interface ScoreOptions {
  /** What queries are multiplied with, a number or a value for each head `[H, 1, 1]`; default D^-0.5. */
  scale?: number | Value;
  /** Added to the scores, one after the other: a bias by position, a mask. */
  biases?: readonly Value[];
  /** What is done to the scores `[N, H, T, T]` before the softmax, and to the weights after it. */
  onScores?(scores: Value): Value;
  onWeights?(weights: Value): Value;
}

export interface AttentionOptions extends ScoreOptions {
  heads: number;
  qkvBias: boolean;
  projBias: boolean;
  /** Norm of queries and keys over a head. */
  qkNorm: NormSpec | undefined;
  /** Norm of the joined heads before the projection. */
  scaleNorm: NormSpec | undefined;
  /** What makes queries, keys and values; default: one Linear for all. */
  project?: Projection;
  /** What is done to queries and keys `[N, H, T, D]` before they meet: turned by position, brought to unit length. */
  prepare?(x: Value): Value;
  /** Channels of a head, where they are not what the heads have of the width. */
  headDim?: number;
  /** Whether the first channels of all heads come first when they are joined, then the second ones, and so on. */
  interleaved?: boolean;
}

/** Queries, keys and values `[N, H, T, D]` of `x` `[N, T, C]`. */
export type Projection = (
  layers: Layers,
  x: Value,
  options: Pick<AttentionOptions, 'heads' | 'qkvBias' | 'headDim'>,
) => readonly [q: Value, k: Value, v: Value];

/**
 * softmax(q k^T / sqrt(D)) v for `[..., H, T, D]` operands ("Attention Is All You Need", 2017), of which one may have
 * 1 where others have more. The query is scaled rather than the scores: it is the smaller of the two.
 */
export function scaledDotProduct(
  layers: Layers,
  q: Value,
  k: Value,
  v: Value,
  options: ScoreOptions = {},
): Value {
  const b = layers.builder;
  const { scale = lastDim(q) ** -0.5, biases = [], onScores, onWeights } = options;
  const scaled = b.op('Mul', [q, typeof scale === 'number' ? b.scalar(scale) : scale], {}, 'q_scaled');
  const rank = k.shape!.length;
  const perm = [...Array(rank - 2).keys(), rank - 1, rank - 2];
  const product = b.op('MatMul', [scaled, b.op('Transpose', [k], { perm }, 'k_t')], {}, 'scores');
  const scores = biases.reduce((sum, bias) => b.op('Add', [sum, bias], {}, 'scores_biased'), product);
  const weights = b.op('Softmax', [onScores ? onScores(scores) : scores], { axis: -1 }, 'softmax');
  return b.op('MatMul', [onWeights ? onWeights(weights) : weights, v], {}, 'context');
}

/** `[N, T, H*D] -> [N, H, T, D]`. */
export function splitHeads(
  layers: Layers,
  x: Value,
  heads: number,
  norm?: { name: string; spec: NormSpec },
): Value {
  const b = layers.builder;
  const boxed = b.op('Reshape', [x, b.ints([0, 0, heads, -1])], {}, 'heads');
  const normed = norm ? layers.norm(norm.name, boxed, norm.spec) : boxed;
  return b.op('Transpose', [normed], { perm: [0, 2, 1, 3] }, 'heads_first');
}

/** `[N, H, T, D] -> [N, T, H*D]`. */
export const joinHeads = (layers: Layers, x: Value): Value => joined(layers, x, [0, 2, 1, 3]);

/** `[N, H, T, D] -> [N, T, D*H]`: the first channels of all heads, then the second ones, and so on. */
const interleavedHeads = (layers: Layers, x: Value): Value => joined(layers, x, [0, 2, 3, 1]);

function joined(layers: Layers, x: Value, perm: number[]): Value {
  const b = layers.builder;
  const tokensFirst = b.op('Transpose', [x], { perm }, 'tokens_first');
  return b.op('Reshape', [tokensFirst, b.ints([0, 0, -1])], {}, 'joined');
}

/**
 * `[N, T, parts*H*D] ->` `parts` of `[N, H, T, D]`: one Reshape, one Transpose, cut along the first axis.
 * @param headsFirst whether the channels are by head and then by part
 */
export function splitPacked(
  layers: Layers,
  x: Value,
  parts: readonly string[],
  heads: number,
  headsFirst = false,
): Value[] {
  const b = layers.builder;
  const box = headsFirst ? [heads, parts.length] : [parts.length, heads];
  const boxed = b.op('Reshape', [x, b.ints([0, 0, ...box, -1])], {}, 'packed');
  return unpack(layers, boxed, headsFirst ? [3, 0, 2, 1, 4] : [2, 0, 3, 1, 4], parts);
}

/** Parts of a packed value, cut along the axis that `perm` brings to the front. */
export function unpack(
  layers: Layers,
  boxed: Value,
  perm: readonly number[],
  parts: readonly string[],
): Value[] {
  const b = layers.builder;
  const partsFirst = b.op('Transpose', [boxed], { perm: [...perm] }, 'parts_first');
  const cut = b.node('Split', [partsFirst], { axis: 0, num_outputs: parts.length }, parts.length, 'part');
  return parts.map((name, i) => b.op('Squeeze', [cut.output(i), b.ints([0])], {}, name));
}

const inThree = (layers: Layers, packed: Value, heads: number) =>
  splitPacked(layers, packed, ['q', 'k', 'v'], heads) as [Value, Value, Value];

/** One Linear `qkv`. */
const packedProjection: Projection = (layers, x, { heads, qkvBias, headDim = lastDim(x) / heads }) =>
  inThree(layers, layers.linear('qkv', x, 3 * heads * headDim, { bias: qkvBias }), heads);

/** One Linear `qkv`, with biases of their own for queries and values, `q_bias` and `v_bias`; keys have none. */
export const biasesApart: Projection = (layers, x, { heads, qkvBias }) => {
  const b = layers.builder;
  const width = lastDim(x);
  const packed = layers.linear('qkv', x, 3 * width, { bias: false });
  if (!qkvBias) return inThree(layers, packed, heads);
  const zero: Initializer = { kind: 'constant', value: 0 };
  const [q, v] = ['q_bias', 'v_bias'].map((name) => layers.parameter(name, [width], zero));
  const k = layers.constant('k_bias', Tensor.zeros('float32', [width]));
  const bias = b.op('Concat', [q, k, v], { axis: 0 }, 'qkv_bias');
  return inThree(layers, b.op('Add', [packed, bias], {}, 'qkv_biased'), heads);
};

/** A Linear each, `q_proj`, `k_proj` and `v_proj`; that of the keys may have no bias where the others have one. */
export const projectionsApart =
  (keyBias: boolean): Projection =>
  (layers, x, { heads, qkvBias }) => {
    const project = (name: string, bias: boolean) =>
      splitHeads(layers, layers.linear(name, x, lastDim(x), { bias }), heads);
    return [project('q_proj', qkvBias), project('k_proj', qkvBias && keyBias), project('v_proj', qkvBias)];
  };

/** One Linear `qk` for queries and keys, and one for values, `v`, whose weight may start in its own way. */
export const valuesApart =
  (valueStart?: Initializer): Projection =>
  (layers, x, { heads, qkvBias: bias }) => {
    const width = lastDim(x);
    const [q, k] = splitPacked(layers, layers.linear('qk', x, 2 * width, { bias }), ['q', 'k'], heads);
    const start = valueStart ? { weightInitializer: valueStart } : {};
    return [q!, k!, splitHeads(layers, layers.linear('v', x, width, { bias, ...start }), heads)];
  };

/** Multi-head self-attention as timm's `Attention`. */
export function attention(layers: Layers, x: Value, options: AttentionOptions): Value {
  const width = lastDim(x);
  const { project = packedProjection, prepare } = options;
  let [q, k, v] = project(layers, x, options);
  if (options.qkNorm) {
    q = layers.norm('q_norm', q, options.qkNorm);
    k = layers.norm('k_norm', k, options.qkNorm);
  }
  if (prepare) [q, k] = [layers.scope('q', () => prepare(q)), layers.scope('k', () => prepare(k))];
  const context = scaledDotProduct(layers, q, k, v, options);
  const join = options.interleaved ? interleavedHeads : joinHeads;
  return projected(layers, join(layers, context), width, options);
}

/** timm's `Attention` with its usual arguments, in the present scope. */
export const plainAttentionOf = (layers: Layers, x: Value, heads: number, qkvBias: boolean): Value =>
  attention(layers, x, { heads, qkvBias, projBias: true, qkNorm: undefined, scaleNorm: undefined });

/** The same in the scope `attn`. */
export const plainAttention = (layers: Layers, x: Value, heads: number, qkvBias = true): Value =>
  layers.scope('attn', () => plainAttentionOf(layers, x, heads, qkvBias));

function projected(layers: Layers, joined: Value, width: number, options: AttentionOptions): Value {
  const normed = options.scaleNorm ? layers.norm('norm', joined, options.scaleNorm) : joined;
  return layers.linear('proj', normed, width, { bias: options.projBias });
}

const lambdaInitializer: Initializer = { kind: 'normal', std: 0.1 };

/** How much of the second attention map is subtracted at the start, by the depth of the block. */
const initialLambda = (depth: number) => 0.8 - 0.6 * Math.exp(-0.3 * depth);

export interface DifferentialOptions {
  qkNorm: NormSpec | undefined;
  depth: number;
}

/**
 * Differential attention ("Differential Transformer", arXiv 2410.05258): queries and keys of a head
 * are halved into two attentions over the same values, and lambda times the second is subtracted.
 * lambda = exp(q1 . k1) - exp(q2 . k2) + an initial value, of learned vectors.
 *
 * @param q, k, v `[N, H, T, 2D]`
 */
export function differentialCore(
  layers: Layers,
  q: Value,
  k: Value,
  v: Value,
  { qkNorm, depth }: DifferentialOptions,
): Value {
  const b = layers.builder;
  const half = lastDim(q) / 2;
  const halves = (x: Value, name: string) => {
    const whole = qkNorm ? normedHalves(layers, x, `${name}_norm`, qkNorm) : x;
    const cut = b.node('Split', [whole], { axis: -1, num_outputs: 2 }, 2, `${name}_half`);
    return [cut.output(0), cut.output(1)] as const;
  };
  const [q1, q2] = halves(q, 'q');
  const [k1, k2] = halves(k, 'k');
  const vectors = ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2'].map((name) =>
    layers.parameter(name, [half], lambdaInitializer),
  );
  const exponential = (query: Value, key: Value) => {
    const product = b.op('Mul', [query, key], {}, 'lambda_product');
    return b.op(
      'Exp',
      [b.op('ReduceSum', [product, b.ints([0])], { keepdims: 0 }, 'lambda_sum')],
      {},
      'lambda_exp',
    );
  };
  const difference = b.op(
    'Sub',
    [exponential(vectors[0]!, vectors[1]!), exponential(vectors[2]!, vectors[3]!)],
    {},
    'lambda_difference',
  );
  const lambda = b.op('Add', [difference, b.scalar(initialLambda(depth))], {}, 'lambda');
  const first = layers.scope('first', () => scaledDotProduct(layers, q1, k1, v));
  const second = layers.scope('second', () => scaledDotProduct(layers, q2, k2, v));
  const mixed = b.op('Sub', [first, b.op('Mul', [second, lambda], {}, 'subtracted')], {}, 'difference');
  const normed = layers.norm('sub_norm', mixed, { kind: 'rms', epsilon: 1e-5 });
  return b.op('Mul', [normed, b.scalar(1 - initialLambda(depth))], {}, 'rescaled');
}

/** Each half of the last axis normalized by itself, with the same weight. */
function normedHalves(layers: Layers, x: Value, name: string, spec: NormSpec): Value {
  const b = layers.builder;
  const boxed = b.op('Reshape', [x, b.ints([0, 0, 0, 2, -1])], {}, `${name}_boxed`);
  const normed = layers.norm(name, boxed, spec);
  return b.op('Reshape', [normed, b.ints([0, 0, 0, -1])], {}, `${name}_unboxed`);
}

/** Differential self-attention as timm's `DiffAttention`. */
export function differentialAttention(
  layers: Layers,
  x: Value,
  options: AttentionOptions & { depth: number },
): Value {
  const width = lastDim(x);
  const packed = layers.linear('qkv', x, 3 * width, { bias: options.qkvBias });
  const [q, k, v] = splitPacked(layers, packed, ['q', 'k', 'v'], options.heads) as [Value, Value, Value];
  const context = differentialCore(layers, q, k, v, { qkNorm: options.qkNorm, depth: options.depth });
  return projected(layers, joinHeads(layers, context), width, options);
}

/**
 * Pooling by attention from one learned query, then a residual MLP (timm's `AttentionPoolLatent`;
 * "Set Transformer", arXiv 1810.00825). `[N, T, C] -> [N, C]`. The query has a batch of one and
 * broadcasts in the product.
 */
export function attentionPool(
  layers: Layers,
  x: Value,
  heads: number,
  norm: NormSpec,
  mlp: (x: Value) => Value,
): Value {
  const b = layers.builder;
  const width = lastDim(x);
  const latent = layers.parameter('latent', [1, 1, width], { kind: 'truncatedNormal', std: width ** -0.5 });
  const q = splitHeads(layers, layers.linear('q', latent, width), heads);
  const packed = layers.linear('kv', x, 2 * width);
  const [k, v] = splitPacked(layers, packed, ['k', 'v'], heads) as [Value, Value];
  const pooled = layers.linear('proj', joinHeads(layers, scaledDotProduct(layers, q, k, v)), width);
  const refined = mlp(layers.norm('norm', pooled, norm));
  const sum = b.op('Add', [pooled, refined], {}, 'residual');
  return b.op('Squeeze', [sum, b.ints([1])], {}, 'pooled');
}

/** Self-attention of the tokens without any parameters, before a pool (timm's `AttentionPoolPrr`). */
export function refineTokens(layers: Layers, x: Value, heads: number): Value {
  const boxed = splitHeads(layers, x, heads);
  return joinHeads(layers, scaledDotProduct(layers, boxed, boxed, boxed));
}
