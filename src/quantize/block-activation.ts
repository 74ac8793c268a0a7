import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { leastScale } from './activation.ts';

/** What four bits count to. */
const levels = 15;

/**
 * Activations rounded to four bits and multiplied out again, in float32: in each row, each block of `size` numbers along the
 * last axis has sixteen values at even distances from its least number to its largest, found at run time:
 *
 *     step = (largest - least) / 15      q = round((x - least) / step), 0 to 15      x ~ least + q * step
 *
 * A product with weights in blocks is then sums of products of two integers of four bits, a factor and a summand a block. What a
 * last block lacks does not count.
 * @param x float32, its last axis a number
 * @param size a power of two
 */
export function roundedToFour(b: Builder, x: Value, size: number): Value {
  const shape = x.shape!;
  const inputs = shape.at(-1) as number;
  const rank = shape.length;
  const blocks = Math.ceil(inputs / size);
  const missing = blocks * size - inputs;
  const leading = Array.from({ length: rank - 1 }, () => 0);
  const ends = [...leading, 0, ...leading, missing];
  const whole = missing ? b.op('Pad', [x, Tensor.int64(ends)], { mode: 'edge' }) : x;
  const exact = b.op('Reshape', [whole, Tensor.int64([...leading, blocks, size])]);
  const axis = Tensor.int64([rank]);
  const [largest, least] = (['ReduceMax', 'ReduceMin'] as const).map((op) => b.op(op, [exact, axis]));
  const span = b.op('Sub', [largest, least]);
  const step = b.op('Max', [b.op('Div', [span, b.scalar(levels)]), b.scalar(leastScale)]);
  const integers = b.op('Round', [b.op('Div', [b.op('Sub', [exact, least]), step])]);
  const restored = b.op('Add', [b.op('Mul', [integers, step]), least]);
  const flat = b.op('Reshape', [restored, Tensor.int64([...leading, blocks * size])]);
  if (!missing) return flat;
  return b.op('Slice', [flat, Tensor.int64([0]), Tensor.int64([inputs]), Tensor.int64([rank - 1])]);
}
