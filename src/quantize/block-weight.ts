import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';

/** Four bits: -8 to 7. */
const least = -8;
const most = 7;

/** Scales that are tried for a block, over the one by which its largest number is -8. */
const tried = Array.from({ length: 15 }, (_, i) => 1 - i / 40);

/** A weight in four bits a number, a scale for each block of numbers of an output: `w ~ (stored - 8) * scale`. */
export interface BlockWeight {
  /** uint8 `[out, blocks, size / 2]`: two numbers a byte, the first in its lower half. */
  readonly packed: Value;
  /** float32 `[out, blocks]`. */
  readonly scale: Value;
  /** float32 `[out, blocks, size]`: what they stand for, and what they were made from. */
  readonly restored: Value;
  readonly exact: Value;
}

/**
 * Rounds a weight to four bits in blocks along its inputs. The number of the largest magnitude becomes -8 at a scale with its
 * sign, so that all sixteen values are used; of that scale and those down to 0.65 of it, at which the largest are cut, the one of
 * least squared error is taken.
 * @param size numbers of a block, a power of two
 * @param rows float32 `[out, in]`; a last block that is not full is filled with zeros
 */
export function roundBlocks(
  b: Builder,
  rows: Value,
  [out, inputs]: readonly [number, number],
  size: number,
): BlockWeight {
  const blocks = Math.ceil(inputs / size);
  const padded =
    inputs === blocks * size
      ? rows
      : b.op('Pad', [rows, Tensor.int64([0, 0, 0, blocks * size - inputs])], { mode: 'constant' });
  const exact = b.op('Reshape', [padded, Tensor.int64([out, blocks, size])]);
  const axis = Tensor.int64([2]);
  const [highest, lowest] = (['ReduceMax', 'ReduceMin'] as const).map((op) => b.op(op, [exact, axis]));
  const isPositive = b.op('Greater', [highest!, b.op('Neg', [lowest!])]);
  const full = b.op('Div', [b.op('Where', [isPositive, highest!, lowest!]), b.scalar(least)]);
  const at = (scale: Value) => {
    const safe = b.op('Where', [b.op('Equal', [scale, b.scalar(0)]), b.scalar(1), scale]);
    const integers = b.op('Clip', [
      b.op('Round', [b.op('Div', [exact, safe])]),
      b.scalar(least),
      b.scalar(most),
    ]);
    const restored = b.op('Mul', [integers, scale]);
    const error = b.op('ReduceSumSquare', [b.op('Sub', [restored, exact]), axis]);
    return { scale, integers, restored, error };
  };
  let best = at(full);
  for (const share of tried.slice(1)) {
    const next = at(b.op('Mul', [full, b.scalar(share)]));
    const isBetter = b.op('Less', [next.error, best.error]);
    const pick = (of: 'scale' | 'integers' | 'restored' | 'error') =>
      b.op('Where', [isBetter, next[of], best[of]]);
    best = {
      scale: pick('scale'),
      integers: pick('integers'),
      restored: pick('restored'),
      error: pick('error'),
    };
  }
  const { scale, integers, restored } = best;
  return {
    packed: packedPairs(b, b.op('Sub', [integers, b.scalar(least)]), [out, blocks, size / 2]),
    scale: b.op('Reshape', [scale, Tensor.int64([out, blocks])]),
    restored,
    exact,
  };
}

/** Neighbours of the last axis in one byte. @param halves float32, 0 to 15 */
function packedPairs(b: Builder, halves: Value, shape: readonly number[]): Value {
  const pairs = b.op('Reshape', [halves, Tensor.int64([...shape, 2])]);
  const bytes = b.op(
    'ReduceSum',
    [b.op('Mul', [pairs, Tensor.float32([2], Float32Array.of(1, 16))]), Tensor.int64([shape.length])],
    { keepdims: 0 },
  );
  return b.op('Cast', [bytes], { to: dataTypes.uint8.onnx });
}
