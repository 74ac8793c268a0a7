import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import type { Linear } from '../graph/linear.ts';
import { Tensor } from '../graph/tensor.ts';
import { type Engine, runOnce } from '../runtime/session.ts';
import { type BlockLinear, packed, unpacked } from './block-linear.ts';
import { pairedWithin } from './paired-within.ts';
import type { QuantizedLayer } from './quantized-layer.ts';
import { withinInt8 } from './weight-pairs.ts';
import { columnsOf } from './weight-rounding.ts';

/** A weight between the numbers that it may be rounded to; all of it `[in, out]`. */
export interface WeightGrid {
  readonly inputs: number;
  readonly outputs: number;
  /** float32: the weight. */
  readonly exact: Tensor;
  /** float32: the weight over its scale, cut to the numbers there are. */
  readonly steps: Tensor;
  /** float32, or a row that is for all: the scale. */
  readonly scale: Tensor;
  /** What it is rounded to now. */
  readonly integers: Int8Array;
  /**
   * The whole numbers at, or beside, `steps` that a choice comes to: above where `up` is over 0, else below. Of a pair that
   * must not add up to more, the one whose choice is the less sure is made the other way.
   */
  choose(up: ArrayLike<number>): Int8Array;
  /** Other integers as the layer's constant holds them. */
  stored(integers: Int8Array): Tensor;
}

/**
 * Where the weight of a quantized Linear lies on its grid.
 * @param layer of the float32 graph
 * @param bounded whether pairs of int8 weights keep within `pairBound`
 */
export async function weightGrid(
  engine: Engine,
  layer: Linear,
  quantized: QuantizedLayer | BlockLinear,
  bounded: boolean,
): Promise<WeightGrid> {
  const { weight } = layer;
  const inBlocks = 'blockSize' in quantized ? quantized : undefined;
  const graph = new Graph('grid');
  const b = new Builder(graph);
  const given = graph.addInput('weight', 'float32', weight.staticShape);
  const scales = graph.addInput('scale', 'float32', quantized.weightScale.staticShape);
  const [exact, [inputs, outputs]] = columnsOf(b, given, layer.layout);
  const scale = inBlocks ? blockScales(b, scales, inBlocks) : b.op('Reshape', [scales, b.ints([1, -1])]);
  const steps = inBlocks
    ? b.op('Clip', [b.op('Div', [exact, unlessZero(b, scale)]), b.scalar(-8), b.scalar(7)])
    : withinInt8(b, exact, scales);
  graph.outputs.push(
    ...Object.entries({ exact, steps, scale }).map(([name, value]) =>
      b.op('Identity', [value], {}, `of.${name}`),
    ),
  );
  const feeds = { weight: weight.tensor!, scale: quantized.weightScale.tensor! };
  const found = await runOnce(engine, graph, feeds, { optimization: 'disabled' });
  const positions = found['of.steps']!.floats;
  return {
    ...{ inputs, outputs, exact: found['of.exact']!, steps: found['of.steps']!, scale: found['of.scale']! },
    integers: inBlocks ? unpacked(inBlocks) : Int8Array.from(quantized.weight.tensor!.data as Int8Array),
    choose(up) {
      const integers = Int8Array.from(positions, (value, i) =>
        up[i]! > 0 ? Math.ceil(value) : Math.floor(value),
      );
      if (bounded && !inBlocks) pairedWithin(integers, positions, up, outputs);
      return integers;
    },
    stored: (integers) =>
      inBlocks ? packed(integers, inBlocks) : new Tensor('int8', [inputs, outputs], integers),
  };
}

/** A scale for each number, `[in, out]`. @param scales `[out, blocks]` */
function blockScales(b: Builder, scales: Value, { blockSize, inputs, outputs }: BlockLinear): Value {
  const blocks = Math.ceil(inputs / blockSize);
  const columns = b.op('Transpose', [scales], { perm: [1, 0] });
  const each = b.op('Expand', [
    b.op('Unsqueeze', [columns, b.ints([1])]),
    b.ints([blocks, blockSize, outputs]),
  ]);
  const all = b.op('Reshape', [each, b.ints([blocks * blockSize, outputs])]);
  return b.op('Slice', [all, b.ints([0]), b.ints([inputs]), b.ints([0])]);
}

const unlessZero = (b: Builder, scale: Value): Value =>
  b.op('Where', [b.op('Equal', [scale, b.scalar(0)]), b.scalar(1), scale]);
