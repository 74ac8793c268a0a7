import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import type { GroupSlice, PruningGroup } from './group.ts';

export const importances = ['l1', 'l2', 'lamp', 'fpgm', 'taylor', 'hessian', 'random'] as const;
export type Importance = (typeof importances)[number];

/** What the loss says of each scored parameter: a gradient (Taylor) or its mean square (Hessian). */
export type Sensitivities = ReadonlyMap<Value, Tensor>;

export interface ScoreOptions {
  importance: Importance;
  /** Of `random`. */
  seed?: number;
  /** For `taylor` and `hessian`, of every parameter in `scoredParameters`. */
  sensitivities?: Sensitivities;
}

const scoredRoles = new Set(['output', 'input', 'normScale']);

/** Slices that importance looks at: weights of Linear, Conv and norms; no biases, no embeddings. */
export const isScored = ({ role }: GroupSlice): boolean => scoredRoles.has(role);

/** The parameters whose values (and sensitivities) importance needs. */
export function scoredParameters(groups: readonly PruningGroup[]): Value[] {
  return [...new Set(groups.flatMap(({ slices }) => slices.filter(isScored).map((s) => s.parameter)))];
}

/**
 * The importance of each unit of each group, as Torch-Pruning defines it: over every scored slice of
 * the unit, the sum of |w| (`l1`), w^2 (`l2`), |w g| (`taylor`: g the gradient of the mean
 * cross-entropy, added up over batches; Molchanov et al., CVPR 2019) or w^2 h (`hessian`: h the mean
 * over samples of the squared gradient; "Optimal Brain Damage", 1989), divided by the number of
 * slices and then by the group's mean. A unit with twice the mean importance has 2.
 *
 * `lamp` is `l2` divided by the sum over the units of the group that have no less ("Layer-adaptive Sparsity for the
 * Magnitude-based Pruning", ICLR 2021): the same order in a group, another across groups. `fpgm` is the sum of a slice's
 * Euclidean distances from the others, of weights without norms ("Filter Pruning via Geometric Median", CVPR 2019;
 * Torch-Pruning takes distances of squared weights).
 */
export async function scoreGroups(
  engine: Engine,
  groups: readonly PruningGroup[],
  options: ScoreOptions,
): Promise<Float64Array[]> {
  if (options.importance === 'random') return randomScores(groups, options.seed ?? 0);
  const { importance } = options;
  const isRead = (slice: GroupSlice) =>
    isScored(slice) && !(importance === 'fpgm' && slice.role === 'normScale');
  const session = await engine.load(scoreGraph(importance));
  try {
    const sums = groups.map(({ size }) => new Float64Array(size));
    for (const parameter of scoredParameters(groups)) {
      const axes = new Map<number, Float32Array>();
      for (const [i, group] of groups.entries()) {
        for (const slice of group.slices) {
          if (slice.parameter !== parameter || !isRead(slice)) continue;
          let scores = axes.get(slice.axis);
          if (!scores) {
            scores = await axisScores(session, parameter, slice.axis, options.sensitivities?.get(parameter));
            axes.set(slice.axis, scores);
          }
          slice.units.forEach((unit, index) => {
            if (unit >= 0) sums[i]![unit]! += scores[index]!;
          });
        }
      }
      parameter.tensor!.release();
    }
    return sums.map(importance === 'lamp' ? layerAdaptive : overMean);
  } finally {
    await session.dispose();
  }
}

function overMean(scores: Float64Array): Float64Array {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  return mean > 0 ? scores.map((score) => score / mean) : scores;
}

/** Over the sum of what is no less. */
function layerAdaptive(scores: Float64Array): Float64Array {
  const found = new Float64Array(scores.length);
  let rest = 0;
  for (const i of [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || b - a)) {
    rest += scores[i]!;
    found[i] = rest > 0 ? scores[i]! / rest : 0;
  }
  return found;
}

function randomScores(groups: readonly PruningGroup[], seed: number): Float64Array[] {
  return groups.map(({ size }, i) => {
    const random = new Random(seed, i);
    return overMean(Float64Array.from({ length: size }, () => random.uniform()));
  });
}

/** `[before, axis, after] -> [axis]`: the local scores of the indices of one axis of a tensor. */
function scoreGraph(importance: Exclude<Importance, 'random'>): Graph {
  const graph = new Graph(`importance_${importance}`);
  const b = new Builder(graph);
  const shape = ['before', 'axis', 'after'];
  const weight = graph.addInput('weight', 'float32', shape);
  const sensitivity = () => graph.addInput('sensitivity', 'float32', shape);
  const sum = (op: string, value: Value) => b.op(op, [value, b.ints([0, 2])], { keepdims: 0 }, 'scores');
  const scores = {
    l1: () => sum('ReduceL1', weight),
    l2: () => sum('ReduceSumSquare', weight),
    lamp: () => sum('ReduceSumSquare', weight),
    fpgm: () => distances(b, weight),
    taylor: () => sum('ReduceL1', b.op('Mul', [weight, sensitivity()])),
    hessian: () => sum('ReduceSum', b.op('Mul', [b.op('Mul', [weight, weight]), sensitivity()])),
  };
  graph.outputs.push(scores[importance]());
  return graph;
}

/**
 * The sum of each index's distances from the others, in float64, which what is left of `|a|^2 + |b|^2 - 2ab` between near
 * slices needs.
 */
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

async function axisScores(
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
  const { scores } = await session.run({
    weight: new Tensor('float32', shape, tensor.floats),
    ...(sensitivity ? { sensitivity: new Tensor('float32', shape, sensitivity.floats) } : {}),
  });
  return scores!.floats;
}
