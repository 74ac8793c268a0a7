import type { Builder } from '../../graph/builder.ts';
import type { Node, Value } from '../../graph/graph.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';

/** Queries, keys and values `[N, H, T, D]`, and what is added to their scores. */
interface Heads {
  q: Value;
  k: Value;
  v: Value;
  bias?: Value | undefined;
  scale?: number | undefined;
}

/** softmax(q k^T scale + bias) v, `[N, H, T, D]`, in the form that our builders write. */
function attend(b: Builder, { q, k, v, bias, scale }: Heads): Value | undefined {
  const width = q.shape?.at(-1);
  if (scale === undefined && typeof width !== 'number') return undefined;
  const scaled = b.op('Mul', [q, b.scalar(scale ?? (width as number) ** -0.5)], {}, 'q_scaled');
  const product = b.op(
    'MatMul',
    [scaled, b.op('Transpose', [k], { perm: [0, 1, 3, 2] }, 'k_t')],
    {},
    'scores',
  );
  const biased = bias ? b.op('Add', [product, bias], {}, 'scores_biased') : product;
  return b.op('MatMul', [b.op('Softmax', [biased], { axis: -1 }, 'softmax'), v], {}, 'context');
}

/** `[N, T, H*D] -> [N, H, T, D]`. */
const splitHeads = (b: Builder, x: Value, heads: number): Value =>
  b.op(
    'Transpose',
    [b.op('Reshape', [x, b.ints([0, 0, heads, -1])], {}, 'heads')],
    { perm: [0, 2, 1, 3] },
    'heads_first',
  );

/** `[N, H, T, D] -> [N, T, H*D]`. */
const joinHeads = (b: Builder, x: Value): Value =>
  b.op(
    'Reshape',
    [b.op('Transpose', [x], { perm: [0, 2, 1, 3] }, 'tokens_first'), b.ints([0, 0, -1])],
    {},
    'joined',
  );

/** What a mask adds: itself, or of one that says which scores count, minus infinity to the others. */
function addedToScores(b: Builder, mask: Value): Value | undefined {
  if (mask.dtype === 'float32') return mask;
  if (mask.dtype !== 'bool') return undefined;
  return b.op('Where', [mask, b.scalar(0), b.scalar(Number.NEGATIVE_INFINITY)], {}, 'hidden');
}

/** ONNX's Attention without a past, a causal mask, a cap, and fewer heads of keys than of queries. */
export function attention(b: Builder, node: Node, args: OpArguments['Attention']): Value | undefined {
  const [q, k, v, bias, ...past] = node.inputs;
  if (
    !q ||
    !k ||
    !v ||
    past.some(Boolean) ||
    args.is_causal ||
    args.softcap ||
    node.outputs.slice(1).some(Boolean)
  )
    return undefined;
  const added = bias && addedToScores(b, bias);
  if (bias && !added) return undefined;
  const { scale } = args;
  const rank = q.shape?.length;
  if (rank === 4)
    return q.shape![1] === k.shape?.[1] ? attend(b, { q, k, v, bias: added, scale }) : undefined;
  const { q_num_heads: heads, kv_num_heads: keyHeads } = args;
  if (rank !== 3 || heads === undefined || heads !== keyHeads) return undefined;
  const [qs, ks, vs] = [q, k, v].map((x) => splitHeads(b, x, heads)) as [Value, Value, Value];
  const context = attend(b, { q: qs, k: ks, v: vs, bias: added, scale });
  return context && joinHeads(b, context);
}

/** ONNX Runtime's MultiHeadAttention of three tensors without a past and a mask of keys. */
export function multiHeadAttention(
  b: Builder,
  node: Node,
  args: OpArguments['com.microsoft.MultiHeadAttention'],
): Value | undefined {
  const [q, k, v, bias, padding, attentionBias, ...past] = node.inputs;
  if (!q || !k || !v || padding || past.some(Boolean) || args.unidirectional) return undefined;
  if (node.outputs.slice(1).some(Boolean) || [q, k, v].some(({ shape }) => shape?.length !== 3))
    return undefined;
  const widths = [q, k, v].map(({ shape }) => shape![2]);
  if (!widths.every((width) => typeof width === 'number')) return undefined;
  let operands = [q, k, v];
  if (bias) {
    const parts = b.node('Split', [bias, b.ints(widths)], { axis: 0 }, 3, 'bias_part');
    operands = operands.map((x, i) => b.op('Add', [x, parts.output(i)], {}, 'add'));
  }
  const [qs, ks, vs] = operands.map((x) => splitHeads(b, x, args.num_heads)) as [Value, Value, Value];
  const context = attend(b, { q: qs, k: ks, v: vs, bias: attentionBias, scale: args.scale || undefined });
  return context && joinHeads(b, context);
}

/** ONNX Runtime's Attention, whose one weight `[C, 3C]` makes queries, keys and values, without a past and a mask. */
export function packedAttention(
  b: Builder,
  node: Node,
  args: OpArguments['com.microsoft.Attention'],
): Value | undefined {
  const [x, weights, bias, mask, past, attentionBias] = node.inputs;
  if (!x || !weights || mask || past || args.unidirectional || args.do_rotary) return undefined;
  const width = weights.shape?.[1];
  if (node.outputs.slice(1).some(Boolean) || typeof width !== 'number' || args.qkv_hidden_sizes?.length)
    return undefined;
  const product = b.op('MatMul', [x, weights], {}, 'matmul');
  const packed = bias ? b.op('Add', [product, bias], {}, 'add') : product;
  const boxed = b.op('Reshape', [packed, b.ints([0, 0, 3, args.num_heads, -1])], {}, 'packed');
  const partsFirst = b.op('Transpose', [boxed], { perm: [2, 0, 3, 1, 4] }, 'parts_first');
  const cut = b.node('Split', [partsFirst], { axis: 0, num_outputs: 3 }, 3, 'part');
  const [q, k, v] = [0, 1, 2].map((i) => b.op('Squeeze', [cut.output(i), b.ints([0])], {}, 'head_part')) as [
    Value,
    Value,
    Value,
  ];
  const context = attend(b, { q, k, v, bias: attentionBias, scale: args.scale || undefined });
  return context && joinHeads(b, context);
}
