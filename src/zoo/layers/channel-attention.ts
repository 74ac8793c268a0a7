import type { Value } from '../../graph/graph.ts';
import { type Layers, lastDim } from './layers.ts';
import { unitLength } from './normalize.ts';

/**
 * Attention between channels ("XCiT", arXiv 2106.09681): softmax of how channels of a head vary together over the tokens, each at unit length and times a learned
 * temperature: `[N, T, C] -> [N, T, C]`.
 */
export function channelAttention(layers: Layers, x: Value, heads: number, bias: boolean): Value {
  const b = layers.builder;
  const width = lastDim(x);
  const temperature = layers.parameter('temperature', [heads, 1, 1], { kind: 'constant', value: 1 });
  const packed = layers.linear('qkv', x, 3 * width, { bias });
  const boxed = b.op('Reshape', [packed, b.ints([0, 0, 3, heads, -1])], {}, 'packed');
  const partsFirst = b.op('Transpose', [boxed], { perm: [2, 0, 3, 4, 1] }, 'parts_first');
  const cut = b.node('Split', [partsFirst], { axis: 0, num_outputs: 3 }, 3, 'part');
  const [q, k, v] = ['q', 'k', 'v'].map((name, i) =>
    b.op('Squeeze', [cut.output(i), b.ints([0])], {}, name),
  ) as [Value, Value, Value];
  const keys = b.op('Transpose', [unitLength(layers, k)], { perm: [0, 1, 3, 2] }, 'k_t');
  const queries = b.op('Mul', [unitLength(layers, q), temperature], {}, 'q_scaled');
  const scores = b.op('MatMul', [queries, keys], {}, 'scores');
  const weights = b.op('Softmax', [scores], { axis: -1 }, 'softmax');
  const context = b.op('MatMul', [weights, v], {}, 'context');
  const tokensFirst = b.op('Transpose', [context], { perm: [0, 3, 1, 2] }, 'tokens_first');
  return layers.linear('proj', b.op('Reshape', [tokensFirst, b.ints([0, 0, -1])], {}, 'joined'), width);
}
