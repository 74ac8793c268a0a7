import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { noiseFeeds } from '../runtime/noise.ts';
import { runInParts } from '../runtime/run-in-parts.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { maskedGraph, maskedSince } from './masked.ts';
import type { Plan } from './plan.ts';

/** What a pruned model was found to be, beside the model that it was made from. */
export interface PruningCheck {
  /** The largest difference of an output from the masked model's, over the largest number of that output; null: unknown. */
  relative: number | null;
  /** What could not be compared, and why. */
  unchecked: string[];
  /** How long it took to find out. */
  seconds: number;
}

/** How far sums in another order may be from each other. */
const tolerance = 1e-4;

/**
 * Whether what is left of a model computes on noise what the whole model computes where all that went is masked (`maskedGraph`).
 * Both run some layers at a time, so that no second model is in memory.
 * @param plan for groups of the graph
 * @param pruned what it left
 * @throws Error when it computes something else: a fault of pruning, not of whoever asked for it
 */
export async function checkPruned(
  engine: Engine,
  graph: Graph,
  plan: Plan,
  pruned: Graph,
): Promise<PruningCheck> {
  const start = performance.now();
  const unchecked: string[] = [];
  const relative = await compared(engine, graph, plan, pruned, unchecked);
  return { relative, unchecked, seconds: (performance.now() - start) / 1000 };
}

async function compared(
  engine: Engine,
  graph: Graph,
  plan: Plan,
  pruned: Graph,
  unchecked: string[],
): Promise<number | null> {
  let feeds: Tensors;
  let masked: Graph;
  let expected: Tensors;
  try {
    if ((graph.opsets.get('') ?? 1) < maskedSince) {
      throw new UserError(`masks need operator set ${maskedSince}, and the model is of an older one`);
    }
    feeds = noiseFeeds(graph);
    masked = maskedGraph(graph, plan);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    unchecked.push(error.message);
    return null;
  }
  try {
    expected = await runInParts(engine, masked, feeds);
  } catch (error) {
    unchecked.push(`the model does not run on noise: ${(error as Error).message}`);
    return null;
  }
  const found = await runInParts(engine, pruned, feeds);
  let relative: number | null = null;
  for (const [i, { name }] of graph.outputs.entries()) {
    const [wanted, given] = [expected[masked.outputs[i]!.name]!, found[pruned.outputs[i]!.name]!];
    if (wanted.dtype !== 'float32' || !wanted.floats.every(Number.isFinite)) {
      unchecked.push(
        `output ${name} is ${wanted.dtype === 'float32' ? 'not all finite on noise' : wanted.dtype}`,
      );
      continue;
    }
    const off = distance(given, wanted);
    if (!(off <= tolerance)) {
      throw new Error(
        `pruning went wrong: output ${name} is ${off.toPrecision(2)} from that of the model with what went masked`,
      );
    }
    relative = Math.max(relative ?? 0, off);
  }
  return relative;
}

/** The largest difference, over the largest number of `wanted`. */
function distance(given: Tensor, wanted: Tensor): number {
  if (`${given.dtype}[${given.shape}]` !== `${wanted.dtype}[${wanted.shape}]`)
    return Number.POSITIVE_INFINITY;
  let worst = 0;
  let largest = 0;
  wanted.floats.forEach((value, i) => {
    worst = Math.max(
      worst,
      Math.abs(given.floats[i]! - value) || (Number.isNaN(given.floats[i]) ? Infinity : 0),
    );
    largest = Math.max(largest, Math.abs(value));
  });
  return worst === 0 ? 0 : worst / largest;
}
