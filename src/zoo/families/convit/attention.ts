import type { Value } from '../../../graph/graph.ts';
import { Tensor } from '../../../graph/tensor.ts';
import { bounded } from '../../bounded.ts';
import { attention, valuesApart } from '../../layers/attention.ts';
import { type Layers, lastDim } from '../../layers/layers.ts';
import type { Initializer } from '../../parameter-source.ts';

export interface PositionalAttentionOptions {
  heads: number;
  qkvBias: boolean;
  /** How far apart, `[1, T, T, 3]`; see `distances`. */
  distances: Value;
  localityStrength: number;
}

/** From each patch of a square image to each: columns, rows, and the square of the distance. `[1, T, T, 3]`. */
export function distances(side: number): Tensor {
  const count = side * side;
  const data = new Float32Array(bounded(count * count * 3));
  for (let query = 0; query < count; query++) {
    for (let key = 0; key < count; key++) {
      const columns = (key % side) - (query % side);
      const rows = Math.floor(key / side) - Math.floor(query / side);
      data.set([columns, rows, columns ** 2 + rows ** 2], 3 * (query * count + key));
    }
  }
  return Tensor.float32([1, count, count, 3], data);
}

/** Each head starts as a pixel of a convolution: with the place that it looks at. */
function placesStart(heads: number, strength: number): Initializer {
  const side = Math.floor(Math.sqrt(heads));
  const place = (index: number) => 2 * (index - (side - 1) / 2);
  return {
    kind: 'computed',
    values: (random) =>
      Array.from({ length: bounded(heads) }, (_, head) =>
        head < side * side
          ? [place(Math.floor(head / side)), place(head % side), -1]
          : [0, 0, 0].map(() => 0.02 * random.normal()),
      )
        .flat()
        .map((value) => value * strength),
  };
}

function identityStart(width: number): Initializer {
  return {
    kind: 'computed',
    values: () =>
      Float32Array.from({ length: bounded(width * width) }, (_, i) => (i % (width + 1) === 0 ? 1 : 0)),
  };
}

/**
 * Attention by what patches are and by where they are, mixed for each head by a gate. timm divides by the sum of the
 * weights once more, which is 1.
 */
export function positionalAttention(layers: Layers, x: Value, options: PositionalAttentionOptions): Value {
  const { heads, qkvBias, localityStrength: strength } = options;
  const b = layers.builder;
  const mix = (weights: Value) => {
    const parameter = layers.parameter('gating_param', [heads], { kind: 'constant', value: 1 });
    const boxed = b.op('Unsqueeze', [b.op('Sigmoid', [parameter], {}, 'gate'), b.ints([1, 2])], {}, 'gates');
    const places = layers.linear('pos_proj', options.distances, heads, {
      weightInitializer: placesStart(heads, strength),
    });
    const headsFirst = b.op('Transpose', [places], { perm: [0, 3, 1, 2] }, 'places');
    const byPlace = b.op('Softmax', [headsFirst], { axis: -1 }, 'place_softmax');
    const kept = b.op(
      'Mul',
      [weights, b.op('Sub', [b.scalar(1), boxed], {}, 'gates_left')],
      {},
      'by_content',
    );
    return b.op('Add', [kept, b.op('Mul', [byPlace, boxed], {}, 'by_place')], {}, 'weights_mixed');
  };
  return attention(layers, x, {
    heads,
    qkvBias,
    projBias: true,
    qkNorm: undefined,
    scaleNorm: undefined,
    project: valuesApart(identityStart(lastDim(x))),
    onWeights: mix,
  });
}
