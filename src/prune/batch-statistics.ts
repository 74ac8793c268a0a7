import { UserError } from '../common/errors.ts';
import type { ProgressTask } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Node, type Value } from '../graph/graph.ts';
import { partOf } from '../graph/part.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, SessionOptions, Tensors } from '../runtime/session.ts';

export interface BatchStatisticsOptions extends SessionOptions {
  /** Counts norms. */
  task?: ProgressTask;
}

/** The batch norms whose running statistics are constants of their own, in order. */
export const normsWithStatistics = (graph: Graph): Node[] =>
  graph.nodes.filter(
    (node) =>
      node.op === 'BatchNormalization' &&
      [node.inputs[3], node.inputs[4]].every(
        (value) => value?.uses.length === 1 && value.dtype === 'float32' && value.isConstant,
      ),
  );

/**
 * Gives each batch norm the mean and the variance that its inputs have on images, in place: channels that went have changed them.
 * Norm after norm, each behind those before it as they are by then. The images pass through the graph once; what is alive between
 * two norms is kept of all of them.
 * @param images `[N, C, H, W]`, prepared; labels are not looked at
 */
export async function reestimateStatistics(
  engine: Engine,
  graph: Graph,
  images: readonly Pick<Batch, 'pixels'>[],
  { task, ...options }: BatchStatisticsOptions = {},
): Promise<void> {
  const norms = normsWithStatistics(graph);
  const [input, ...others] = graph.inputs.filter(({ isConstant }) => !isConstant);
  if (images.length === 0) throw new UserError('batch statistics need images, and there are none');
  if (!input || others.length > 0) throw new UserError('batch statistics need a model with one input');
  const lives = images.map(({ pixels }): Tensors => ({ [input.name]: pixels }));
  const { nodes } = graph;
  let from = 0;
  for (const [done, norm] of norms.entries()) {
    const to = nodes.indexOf(norm);
    await advance(engine, graph, nodes.slice(from, to), new Set(nodes.slice(to)), lives, options);
    await refresh(engine, graph, norm, lives, options);
    from = to;
    task?.update(done + 1);
  }
}

/** Runs a stretch of nodes on all images, and keeps of each what the nodes behind it read. */
async function advance(
  engine: Engine,
  graph: Graph,
  stretch: readonly Node[],
  behind: ReadonlySet<Node>,
  lives: Tensors[],
  options: SessionOptions,
): Promise<void> {
  const isRead = (value: Value) => value.uses.some(({ node }) => behind.has(node));
  const outputs = stretch
    .flatMap((node) => node.outputs)
    .filter((value) => value !== undefined)
    .filter(isRead);
  if (outputs.length === 0) return;
  const part = partOf(graph, stretch, outputs);
  const session = await engine.load(part.graph, options);
  const spent = part.inputs.filter((value) => !isRead(value));
  try {
    for (const live of lives) {
      const given = Object.fromEntries(part.inputs.map(({ name }) => [name, live[name]!]));
      Object.assign(live, await session.run(given));
      for (const { name } of spent) delete live[name];
    }
  } finally {
    await session.dispose();
  }
}

/** Gives a norm the statistics of its inputs. */
async function refresh(
  engine: Engine,
  graph: Graph,
  norm: Node,
  lives: readonly Tensors[],
  options: SessionOptions,
): Promise<void> {
  const [x, mean, variance] = [norm.input(0), norm.input(3), norm.input(4)];
  const channels = mean.staticShape[0]!;
  const sums = new Float64Array(channels);
  const squares = new Float64Array(channels);
  let count = 0;
  const session = await engine.load(sumsOf(x), options);
  try {
    for (const live of lives) {
      const tensor = live[x.name]!;
      const found = await session.run({ x: tensor });
      (found.sum!.data as Float64Array).forEach((sum, i) => {
        sums[i]! += sum;
        squares[i]! += (found.squares!.data as Float64Array)[i]!;
      });
      count += tensor.size / channels;
    }
  } finally {
    await session.dispose();
  }
  const means = sums.map((sum) => sum / count);
  const unbiased = count / Math.max(count - 1, 1);
  const variances = squares.map((square, i) => Math.max(square / count - means[i]! ** 2, 0) * unbiased);
  graph.setConstant(mean, Tensor.float32([channels], Float32Array.from(means)));
  graph.setConstant(variance, Tensor.float32([channels], Float32Array.from(variances)));
}

/** `x [N, C, ...]` -> the sums of each channel and of its squares, in float64. */
function sumsOf({ dtype, shape }: Value): Graph {
  const graph = new Graph('sums');
  const b = new Builder(graph);
  const x = b.op('Cast', [graph.addInput('x', dtype!, shape)], { to: 11 });
  const axes = b.ints([...shape!.keys()].filter((axis) => axis !== 1));
  const results = { sum: x, squares: b.op('Mul', [x, x]) };
  for (const [name, value] of Object.entries(results)) {
    const sum = b.op('ReduceSum', [value, axes], { keepdims: 0 });
    graph.rename(sum, name);
    graph.outputs.push(sum as never);
  }
  return graph;
}
