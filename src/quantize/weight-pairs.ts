import type { Builder } from '../graph/builder.ts';
import type { Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';

/**
 * The most that two neighbours of the reduced axis (rows 2j and 2j + 1) may add up to, in magnitude.
 * Processors without VNNI multiply unsigned activations with signed weights pair by pair and add the two
 * products in 16 bits (`vpmaddubsw`), which saturates in silence. 255 * 128 = 32640 fits whatever the
 * activations are. Neighbours of unequal sign can't get there: 255 * 127 and 255 * -128 fit by themselves.
 */
export const pairBound = 128;

/**
 * `columns * (1 / scale)`. The Unsqueeze keeps the two apart: ONNX Runtime would write them as `columns / scale`, which
 * rounds other numbers.
 */
export function steps(b: Builder, columns: Value, scale: Value): Value {
  const inverse = b.op('Unsqueeze', [b.op('Div', [b.scalar(1), scale]), Tensor.int64([0])]);
  return b.op('Mul', [columns, inverse]);
}

/** The steps of a scale, cut to what int8 holds, not rounded yet. */
export const withinInt8 = (b: Builder, columns: Value, scale: Value): Value =>
  b.op('Clip', [steps(b, columns, scale), b.scalar(-128), b.scalar(127)]);

/** Even and odd rows of a matrix `[in, out]`, a zero below where their number is odd: `[pairs, out]` each. */
export class WeightPairs {
  readonly #b: Builder;
  readonly #rows: number;
  readonly #width: number;
  readonly #halves: readonly [Value, Value];

  constructor(b: Builder, columns: Value, [rows, width]: readonly [number, number]) {
    this.#b = b;
    this.#rows = rows;
    this.#width = width;
    const even =
      rows % 2 === 0
        ? columns
        : b.op('Concat', [columns, Tensor.float32([1, width], new Float32Array(width))], { axis: 0 });
    const boxed = b.op('Reshape', [even, Tensor.int64([Math.ceil(rows / 2), 2 * width])]);
    const [first, second] = b.node('Split', [boxed, Tensor.int64([width, width])], { axis: 1 }, 2).outputs;
    this.#halves = [first!, second!];
  }

  /** The scale of each output channel, `[out]`, at which no pair exceeds the bound before rounding. */
  scale(plain: Value): Value {
    const b = this.#b;
    const sums = b.op('Abs', [b.op('Add', [...this.#halves])]);
    const largest = b.op('ReduceMax', [sums, Tensor.int64([0])], { keepdims: 0 });
    return b.op('Max', [plain, b.op('Div', [largest, b.scalar(pairBound)])]);
  }

  /** Integers `[in, out]` within the bound, as float32. */
  round(scale: Value): Value {
    const b = this.#b;
    const exact = this.#halves.map((half) => withinInt8(b, half, scale)) as [Value, Value];
    const rounded = exact.map((half) => b.op('Round', [half])) as [Value, Value];
    const sum = b.op('Add', rounded);
    // At most 1, where both were rounded away from zero.
    const over = b.op('Sub', [sum, b.op('Clip', [sum, b.scalar(-pairBound), b.scalar(pairBound)])]);
    const moved = rounded.map((half, i) => b.op('Mul', [b.op('Sub', [half, exact[i]!]), over]));
    const first = b.op('Cast', [b.op('GreaterOrEqual', moved)], { to: 1 });
    const back = b.op('Mul', [over, first]);
    const result = [b.op('Sub', [rounded[0], back]), b.op('Sub', [rounded[1], b.op('Sub', [over, back])])];
    const rows = 2 * Math.ceil(this.#rows / 2);
    const stacked = b.op('Reshape', [b.op('Concat', result, { axis: 1 }), Tensor.int64([rows, this.#width])]);
    if (rows === this.#rows) return stacked;
    return b.op('Slice', [stacked, Tensor.int64([0]), Tensor.int64([this.#rows]), Tensor.int64([0])]);
  }
}
