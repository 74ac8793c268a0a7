import { UserError } from '../common/errors.ts';
import type { ProgressTask } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { type Linear, linears } from '../graph/linear.ts';
import { freeName } from '../graph/replace.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session, SessionOptions, Tensors } from '../runtime/session.ts';
import type { Pruned } from './apply.ts';
import { type Matrix, solvedSymmetric } from './solve.ts';

export const compensations = ['none', 'statistics', 'mean', 'ridge'] as const;
export type Compensation = (typeof compensations)[number];

/** Those that change what layers make of their inputs. */
export type Refitting = Extract<Compensation, 'mean' | 'ridge'>;

export interface CompensateOptions extends SessionOptions {
  /** Counts layers. */
  task?: ProgressTask;
}

/** Of the mean variance of a layer's inputs: how much a change of its weights costs. */
const ridge = 1e-2;

/** Inputs that vary by a smaller share of their squares are the same for all images, and tell nothing of weights. */
const informative = 1e-9;

const total = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);

/** A layer that lost inputs, in the model and in what is left of it. */
interface Layer {
  readonly dense: Linear;
  readonly pruned: Linear;
}

/** Sums over rows of the inputs of a layer, `x` in the model and `y` in what is left of it. */
interface Moments {
  rows: number;
  readonly x: Float64Array;
  readonly y: Float64Array;
  /** `[y, y]` and `[y, x]`; absent for `mean`. */
  readonly yy?: Float64Array;
  readonly yx?: Float64Array;
}

/**
 * Changes what is left of a model, in place, so that each Linear that lost inputs gives on images what it gave before, as
 * nearly as its other inputs allow; layer after layer, each from the inputs that those before it, changed already, give.
 *
 * `mean`: the mean of what is missing becomes part of the bias ("Pruning by compensation", arXiv 2507.12988).
 * `ridge`: besides, weights `A` and bias `c` minimize the mean of `|W x + b - A y - c|^2 + r |A - W_kept|^2`, r a hundredth of the mean
 * variance of y. Its normal equations are accumulated by the engine, in float64, and solved by Cholesky's decomposition.
 *
 * @param dense the graph that was pruned
 * @param images `[N, C, H, W]`, prepared; labels are not looked at
 * @returns layers left as they are, since they have no bias, or another layer reads their weight or bias too
 * @throws UserError when there are no images, or the model takes more than them
 */
export async function compensate(
  engine: Engine,
  dense: Graph,
  { graph, kept }: Pruned,
  how: Refitting,
  images: readonly Pick<Batch, 'pixels'>[],
  { task, ...options }: CompensateOptions = {},
): Promise<string[]> {
  if (images.length === 0) throw new UserError('compensation needs images, and there are none');
  if (dense.inputs.filter((input) => !input.isConstant).length !== 1) {
    throw new UserError('compensation needs a model with one input');
  }
  const leftAlone: string[] = [];
  let done = 0;
  for (const layers of layersThatLost(dense, graph, leftAlone)) {
    const moments = await momentsOf(engine, dense, graph, layers[0]!, how, images, options);
    for (const layer of layers) {
      await refit(engine, graph, layer, rowsKept(layer, kept), moments);
      task?.update(++done);
    }
  }
  return leftAlone;
}

/** How many layers `compensate` looks at. */
export const countCompensated = (dense: Graph, pruned: Graph): number =>
  layersThatLost(dense, pruned, []).reduce((sum, layers) => sum + layers.length, 0);

/** In order, those with the same input together. */
function layersThatLost(dense: Graph, pruned: Graph, leftAlone: string[]): Layer[][] {
  const left = new Map<string, Linear[]>();
  for (const linear of linears(pruned)) {
    left.set(linear.weight.name, [...(left.get(linear.weight.name) ?? []), linear]);
  }
  const byInput = new Map<Value, Layer[]>();
  for (const linear of linears(dense)) {
    const twins = left.get(linear.weight.name) ?? [];
    if (!twins.some((twin) => inputsOf(twin) < inputsOf(linear))) continue;
    const twin = twins[0]!;
    const own = [twin.weight, twin.bias].every(
      (value) => value?.uses.length === 1 && value.dtype === 'float32',
    );
    if (!own) {
      if (!leftAlone.includes(linear.weight.name)) leftAlone.push(linear.weight.name);
      continue;
    }
    byInput.set(linear.input, [...(byInput.get(linear.input) ?? []), { dense: linear, pruned: twin }]);
  }
  return [...byInput.values()];
}

const inputsOf = ({ weight, layout }: Linear): number => weight.staticShape[layout === 'out,in' ? 1 : 0]!;
const outputsOf = ({ weight, layout }: Linear): number => weight.staticShape[layout === 'out,in' ? 0 : 1]!;

/** The outputs of a layer that are still there. */
const rowsKept = ({ dense }: Layer, kept: Pruned['kept']): readonly number[] =>
  kept[dense.weight.name]?.[dense.layout === 'out,in' ? '0' : '1'] ?? [...Array(outputsOf(dense)).keys()];

async function momentsOf(
  engine: Engine,
  dense: Graph,
  pruned: Graph,
  layer: Layer,
  how: Refitting,
  images: readonly Pick<Batch, 'pixels'>[],
  options: SessionOptions,
): Promise<Moments> {
  const sessions: Session[] = [];
  try {
    for (const [graph, value] of [
      [dense, layer.dense.input],
      [pruned, layer.pruned.input],
    ] as const) {
      sessions.push(await engine.load(upTo(graph, value), options));
    }
    const [m, k] = [inputsOf(layer.dense), inputsOf(layer.pruned)];
    const sums: Moments = {
      rows: 0,
      x: new Float64Array(m),
      y: new Float64Array(k),
      ...(how === 'ridge' ? { yy: new Float64Array(k * k), yx: new Float64Array(k * m) } : {}),
    };
    const adding = await engine.load(momentGraph(m, k, how), options);
    sessions.push(adding);
    for (const { pixels } of images) {
      const [x, y] = await Promise.all(
        sessions.slice(0, 2).map(async (session) => (await session.run({ images: pixels })).rows!),
      );
      sums.rows += x!.shape[0]!;
      const found = await adding.run({ 'x.rows': x!, 'y.rows': y! });
      for (const [name, { data }] of Object.entries(found)) {
        const sum = sums[name as 'x' | 'y' | 'yy' | 'yx']!;
        for (const [i, value] of (data as Float64Array).entries()) sum[i]! += value;
      }
    }
    return sums;
  } finally {
    for (const session of sessions) await session.dispose();
  }
}

/** The part of a graph that gives a value, as rows `[rows, channels]`. */
function upTo(source: Graph, value: Value): Graph {
  const { graph, values } = source.clone();
  const images = graph.inputs.find((input) => !input.isConstant)!;
  graph.rename(images, freeName(graph, 'images'));
  freeName(graph, 'rows');
  const b = new Builder(graph);
  const channels = value.shape!.at(-1) as number;
  graph.outputs.length = 0;
  graph.outputs.push(b.op('Reshape', [values.get(value)!, b.ints([-1, channels])], {}, 'rows') as never);
  graph.removeDead();
  return graph;
}

/** `x [rows, m]` and `y [rows, k]` -> their sums, and `y^T y`, `y^T x`, in float64. */
function momentGraph(m: number, k: number, how: Refitting): Graph {
  const graph = new Graph('moments');
  const b = new Builder(graph);
  const exact = (name: string, width: number) =>
    b.op('Cast', [graph.addInput(name, 'float32', ['rows', width])], { to: 11 });
  const [x, y] = [exact('x.rows', m), exact('y.rows', k)];
  const results: [string, Value][] = [
    ['x', b.op('ReduceSum', [x, b.ints([0])], { keepdims: 0 })],
    ['y', b.op('ReduceSum', [y, b.ints([0])], { keepdims: 0 })],
  ];
  if (how === 'ridge') {
    const turned = b.op('Transpose', [y], { perm: [1, 0] });
    results.push(['yy', b.op('MatMul', [turned, y])], ['yx', b.op('MatMul', [turned, x])]);
  }
  for (const [name, value] of results) {
    graph.rename(value, name);
    graph.outputs.push(value as never);
  }
  return graph;
}

/** Gives a layer its new weight and bias. */
async function refit(
  engine: Engine,
  graph: Graph,
  { dense, pruned }: Layer,
  rows: readonly number[],
  { rows: count, x, y, yy, yx }: Moments,
): Promise<void> {
  const whole = rowsOf(dense, rows);
  const left = rowsOf(pruned, [...rows.keys()]);
  const means = { x: x.map((sum) => sum / count), y: y.map((sum) => sum / count) };
  let fitted = left;
  const diagonal = y.map((_, i) => (yy?.[i * (y.length + 1)] ?? 0) / count);
  const power = total(diagonal);
  const variance = power - total(means.y.map((mean) => mean ** 2));
  if (yy && yx && variance > informative * power) {
    const covariance = (sums: Float64Array, other: Float64Array): Matrix => ({
      columns: other.length,
      data: sums.map((sum, i) => {
        const [row, column] = [Math.floor(i / other.length), i % other.length];
        return sum / count - means.y[row]! * other[column]!;
      }),
    });
    const own = covariance(yy, means.y);
    const missing = await missed(engine, own, covariance(yx, means.x), whole, left);
    const change = solvedSymmetric(own, (ridge * variance) / y.length, missing);
    fitted = {
      columns: left.columns,
      data: left.data.map((weight, i) => {
        const [row, column] = [Math.floor(i / left.columns), i % left.columns];
        return weight + change.data[column * rows.length + row]!;
      }),
    };
    const stored = pruned.layout === 'out,in' ? fitted : transposed(fitted);
    graph.setConstant(
      pruned.weight,
      Tensor.float32(pruned.weight.staticShape, Float32Array.from(stored.data)),
    );
  }
  const bias = pruned.bias!.tensor!.floats;
  const shifted = Float32Array.from(bias, (value, row) => {
    let sum = value;
    for (let i = 0; i < whole.columns; i++) sum += whole.data[row * whole.columns + i]! * means.x[i]!;
    for (let i = 0; i < fitted.columns; i++) sum -= fitted.data[row * fitted.columns + i]! * means.y[i]!;
    return sum;
  });
  graph.setConstant(pruned.bias!, Tensor.float32([rows.length], shifted));
}

/** `cov(y, W x - W_kept y)`, `[k, outputs]`. */
async function missed(engine: Engine, yy: Matrix, yx: Matrix, whole: Matrix, left: Matrix): Promise<Matrix> {
  const graph = new Graph('missed');
  const b = new Builder(graph);
  const named = { yx, yy, whole, left };
  const values = Object.entries(named).map(([name, { columns, data }]) =>
    graph.addInput(name, 'float64', [data.length / columns, columns]),
  );
  const [a, c, w, l] = values as [Value, Value, Value, Value];
  const turned = (value: Value) => b.op('Transpose', [value], { perm: [1, 0] });
  const result = b.op('Sub', [b.op('MatMul', [a, turned(w)]), b.op('MatMul', [c, turned(l)])], {}, 'result');
  graph.outputs.push(result as never);
  const session = await engine.load(graph);
  try {
    const feeds: Tensors = {};
    for (const [name, { columns, data }] of Object.entries(named)) {
      feeds[name] = new Tensor('float64', [data.length / columns, columns], data);
    }
    const found = await session.run(feeds);
    return { columns: whole.data.length / whole.columns, data: found.result!.data as Float64Array };
  } finally {
    await session.dispose();
  }
}

/** Some rows of a layer's weight, `[outputs, inputs]`. */
function rowsOf(linear: Linear, rows: readonly number[]): Matrix {
  const columns = inputsOf(linear);
  const outputs = outputsOf(linear);
  const { floats } = linear.weight.tensor!;
  const at = (row: number, column: number) =>
    linear.layout === 'out,in' ? row * columns + column : column * outputs + row;
  const data = new Float64Array(rows.length * columns);
  rows.forEach((row, i) => {
    for (let j = 0; j < columns; j++) data[i * columns + j] = floats[at(row, j)]!;
  });
  return { columns, data };
}

function transposed({ columns, data }: Matrix): Matrix {
  const rows = data.length / columns;
  return { columns: rows, data: data.map((_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!) };
}
