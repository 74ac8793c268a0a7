import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Session } from '../runtime/session.ts';

/** The local score of each index of a weight `[before, axis, after]`, a value `[axis]`. */
type LocalScore = (b: Builder, weight: Value, sensitivity: () => Value) => Value;

const sum = (op: string, b: Builder, value: Value): Value =>
  b.op(op, [value, b.ints([0, 2])], { keepdims: 0 }, 'scores');
const product = (b: Builder, x: Value, y: Value): Value => b.op('Mul', [x, y]);

/** What a slice of a weight w is worth by itself; s is what was seen of the weight: a gradient, for instance. */
export const localScores = {
  /** sum |w| */
  absolute: (b, w) => sum('ReduceL1', b, w),
  /** sum w^2 */
  squares: (b, w) => sum('ReduceSumSquare', b, w),
  /** sum |w s| */
  absoluteProducts: (b, w, s) => sum('ReduceL1', b, product(b, w, s())),
  /** sum (w s)^2 */
  squaredProducts: (b, w, s) => sum('ReduceSumSquare', b, product(b, w, s())),
  /** |sum w s| */
  absoluteSum: (b, w, s) => b.op('Abs', [sum('ReduceSum', b, product(b, w, s()))]),
  /** sum w^2 s */
  weightedSquares: (b, w, s) => sum('ReduceSum', b, product(b, product(b, w, w), s())),
  /** The sum of the slice's Euclidean distances from the others. */
  distances: (b, w) => distances(b, w),
} as const satisfies Record<string, LocalScore>;

export type LocalScoreName = keyof typeof localScores;

/** A graph of one local score: `weight` and, where it is looked at, `sensitivity` in, scores out. */
export function localScoreGraph(name: LocalScoreName): Graph {
  const graph = new Graph(`importance_${name}`);
  const shape = ['before', 'axis', 'after'];
  const weight = graph.addInput('weight', 'float32', shape);
  const sensitivity = () => graph.addInput('sensitivity', 'float32', shape);
  const score: LocalScore = localScores[name];
  graph.outputs.push(score(new Builder(graph), weight, sensitivity));
  return graph;
}

/** The scores of every index of one axis of a parameter. @param session of a `localScoreGraph` */
export async function axisScores(
  session: Session,
  parameter: Value,
  axis: number,
  sensitivity: Tensor | undefined,
): Promise<Float32Array> {
  const tensor = parameter.tensor!;
  const around = (dims: readonly number[]) => dims.reduce((p, d) => p * d, 1);
  const shape = [
    around(tensor.shape.slice(0, axis)),
    tensor.shape[axis]!,
    around(tensor.shape.slice(axis + 1)),
  ];
  const [scores] = Object.values(
    await session.run({
      weight: new Tensor('float32', shape, tensor.floats),
      ...(sensitivity ? { sensitivity: new Tensor('float32', shape, sensitivity.floats) } : {}),
    }),
  );
  return scores!.floats;
}

/** In float64, which what is left of `|a|^2 + |b|^2 - 2ab` between near slices needs. */
function distances(b: Builder, weight: Value): Value {
  const rows = b.op('Transpose', [weight], { perm: [1, 0, 2] });
  const slices = b.op('Cast', [b.op('Flatten', [rows], { axis: 1 })], { to: 11 });
  const products = b.op('MatMul', [slices, b.op('Transpose', [slices], { perm: [1, 0] })]);
  const squares = b.op('ReduceSum', [b.op('Mul', [slices, slices]), b.ints([1])], { keepdims: 1 });
  const apart = b.op('Sub', [
    b.op('Add', [squares, b.op('Transpose', [squares], { perm: [1, 0] })]),
    b.op('Add', [products, products]),
  ]);
  const lengths = b.op('Sqrt', [b.op('Relu', [apart])]);
  const sums = b.op('ReduceSum', [lengths, b.ints([1])], { keepdims: 0 });
  return b.op('Cast', [sums], { to: 1 }, 'scores');
}
