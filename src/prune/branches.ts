import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import type { Progress, ProgressTask } from '../common/progress.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { type ResidualBranch, residualBranches } from '../graph/residual.ts';
import { Tensor } from '../graph/tensor.ts';
import { noiseFor } from '../runtime/noise.ts';
import type { Engine, SessionOptions, Tensors } from '../runtime/session.ts';
import type { PruneData } from './score-channels.ts';

/** How many residual branches go. */
export const branchOptions = z.object({
  branches: z.number().gt(0).optional().meta({
    description:
      'residual branches (attention, MLP) that go as a whole, those that change the outputs least: a number of them, or a share below 1',
    value: 'n',
  }),
});

/** A residual branch that went: `x + f(x)` has become `x`. */
export interface GoneBranch {
  /** The module that most of its tensors are in: `blocks.3.attn`. */
  name: string;
  /** How far the outputs are from those of the whole model without it and those before it: the norm of the difference over the norm. */
  change: number;
}

export interface Shortened {
  graph: Graph;
  /** In the order in which they went. */
  gone: GoneBranch[];
}

interface BranchOptions extends SessionOptions {
  /** Counts models that were tried. */
  task?: ProgressTask;
}

/**
 * How many branches an amount is of so many: a share below 1, rounded down but at least one, or a number.
 * @throws UserError when all would go, or it is no number of branches
 */
export function branchCount(amount: number, branches: number): number {
  if (branches < 2)
    throw new UserError(`branches: the model has ${branches || 'no'} residual branch${branches ? '' : 'es'}`);
  const count = amount < 1 ? Math.max(1, Math.floor(amount * branches)) : amount;
  if (!Number.isInteger(count))
    throw new UserError(`branches: ${amount} is neither a share below 1 nor a whole number`);
  if (count >= branches)
    throw new UserError(`branches: ${count} can't go of the ${branches} that the model has`);
  return count;
}

/** How many models are tried so that of so many branches some go. */
export const trialsFor = (branches: number, count: number): number =>
  (count * (2 * branches - count + 1)) / 2;

/** Images that branches are ranked by. */
const images = 32;

interface Surroundings {
  readonly threads: number | undefined;
  readonly data: PruneData | undefined;
  readonly progress: Progress;
}

/**
 * The graph without an amount of its residual branches, ranked on some of the images, else on noise.
 * @throws UserError when so many can't go
 */
export async function shortened(
  engine: Engine,
  graph: Graph,
  amount: number,
  { threads, data, progress }: Surroundings,
): Promise<Shortened> {
  const branches = residualBranches(graph).length;
  const count = branchCount(amount, branches);
  const feeds = await feedsOf(graph, data);
  if (!data)
    progress.note('branches are ranked by what they change on noise: give --data to rank them on images');
  const task = progress.task('branches', trialsFor(branches, count), 'models');
  try {
    return await withoutBranches(engine, graph, count, feeds, {
      ...(threads === undefined ? {} : { threads }),
      task,
    });
  } finally {
    task.done();
  }
}

async function feedsOf(graph: Graph, data: PruneData | undefined): Promise<Tensors[]> {
  const inputs = graph.inputs.filter(({ isConstant }) => !isConstant);
  const noise = inputs.map((input) => [input.name, noiseFor(input, images / 2, 20)] as const);
  if (!data || inputs.length !== 1) {
    const unknown = inputs.find((input, i) => noise[i]![1]?.dtype !== input.dtype);
    if (unknown)
      throw new UserError(
        `branches: there are no numbers to try for input ${unknown.name} of type ${unknown.dtype}`,
      );
    return [Object.fromEntries(noise) as Tensors];
  }
  const feeds: Tensors[] = [];
  let seen = 0;
  for await (const { pixels } of data) {
    feeds.push({ [inputs[0]!.name]: pixels });
    seen += pixels.shape[0]!;
    if (seen >= images) break;
  }
  if (seen === 0) throw new UserError('branches are ranked on images, and there are none');
  return feeds;
}

/**
 * A copy of the graph without some of its residual branches. They go one by one, each time that which changes the outputs least,
 * together with those that are gone, measured on images.
 * @param count how many, fewer than there are
 * @param feeds batches of images by input name
 * @throws UserError when the model gives nothing that can be measured
 */
export async function withoutBranches(
  engine: Engine,
  graph: Graph,
  count: number,
  feeds: readonly Tensors[],
  { task, ...options }: BranchOptions = {},
): Promise<Shortened> {
  const { graph: copy } = graph.clone();
  const branches = residualBranches(copy);
  const names = branches.map((branch, i) => nameOf(branch, copy) ?? `branch ${i}`);
  const change = await measure(engine, graph, feeds, options);
  const left = new Set(branches.keys());
  const gone: GoneBranch[] = [];
  let tried = 0;
  try {
    while (gone.length < count) {
      let [least, best] = [Number.POSITIVE_INFINITY, -1];
      for (const branch of left) {
        const found = await change.without([...branches.keys()].filter((i) => i === branch || !left.has(i)));
        if (found < least) [least, best] = [found, branch];
        task?.update(++tried);
      }
      if (best < 0) throw new UserError('branches: without any of them the outputs are not finite');
      left.delete(best);
      gone.push({ name: names[best]!, change: least });
    }
  } finally {
    await change.dispose();
  }
  for (const [i, { end, side }] of branches.entries()) {
    if (!left.has(i)) takeOut(copy, end.output(), end.input(1 - side));
  }
  copy.removeDead();
  return { graph: copy, gone };
}

/** The stream in the place of what the branch was added to. */
function takeOut(graph: Graph, sum: Value, stream: Value): void {
  if (graph.outputs.includes(sum) && (graph.outputs.includes(stream) || !stream.producer)) {
    const b = new Builder(graph);
    replaceValue(graph, sum, b.op('Identity', [stream]));
  } else if (graph.outputs.includes(sum)) replaceValue(graph, sum, stream);
  else graph.replaceUses(sum, stream);
}

/** One model for all trials: each branch is multiplied by a number, which is 0 where it is to be gone. */
async function measure(engine: Engine, graph: Graph, feeds: readonly Tensors[], options: SessionOptions) {
  const { graph: gated } = graph.clone();
  const gates = residualBranches(gated).map(({ end, side }, i) => {
    const gate = gated.addInput(gated.uniqueName(`gate.${i}`), 'float32', []);
    end.setInput(side, new Builder(gated, end).op('Mul', [end.input(side), gate]));
    return gate.name;
  });
  const session = await engine.load(gated, options);
  const run = async (given: Tensors, gone: readonly number[]) => {
    const numbers = gates.map((name, i) => [name, Tensor.scalar(gone.includes(i) ? 0 : 1)] as const);
    const found = await session.run({ ...given, ...Object.fromEntries(numbers) });
    return Object.values(found).flatMap(({ dtype, data }) =>
      dtype === 'float32' ? [data as Float32Array] : [],
    );
  };
  const whole: Float32Array[][] = [];
  for (const given of feeds) whole.push(await run(given, []));
  if (whole.every((outputs) => outputs.length === 0)) {
    await session.dispose();
    throw new UserError('branches: the model has no output of float32, by which they could be ranked');
  }
  return {
    dispose: () => session.dispose(),
    /** The change of the outputs without some branches; infinite where they are not finite. */
    async without(gone: readonly number[]): Promise<number> {
      let [off, all] = [0, 0];
      for (const [i, given] of feeds.entries()) {
        for (const [j, found] of (await run(given, gone)).entries()) {
          const wanted = whole[i]![j]!;
          found.forEach((value, e) => {
            off += (value - wanted[e]!) ** 2;
            all += wanted[e]! ** 2;
          });
        }
      }
      const change = Math.sqrt(off / all);
      return Number.isNaN(change) ? Number.POSITIVE_INFINITY : change;
    },
  };
}

/** The module that most tensors of a branch are in, one step below what they have in common; where there are two, that itself. */
function nameOf({ nodes, end }: ResidualBranch, graph: Graph): string | undefined {
  const constants = nodes
    .flatMap(({ inputs }) => inputs)
    .flatMap((value) =>
      value?.isConstant ? [value] : (value?.producer?.inputs.filter((input) => input?.isConstant) ?? []),
    );
  const paths = [...new Set(constants)].flatMap((value) =>
    value && /\.(weight|bias)$/.test(value.name) ? [value.name.split('.')] : [],
  );
  if (paths.length === 0) return graph.outputs.includes(end.output()) ? undefined : end.name;
  let common = 0;
  while (paths.every((path) => common < path.length - 1 && path[common] === paths[0]![common])) common++;
  const modules = paths.map((path) => path.slice(0, Math.min(common + 1, path.length - 1)).join('.'));
  const counts = [...new Set(modules)].map((module) => ({
    module,
    tensors: modules.filter((other) => other === module).length,
  }));
  const [most, next] = counts.sort((a, b) => b.tensors - a.tensors);
  return most!.tensors === next?.tensors ? paths[0]!.slice(0, common).join('.') : most!.module;
}
