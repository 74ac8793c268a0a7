import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import type { DropRecord } from '../quantize/record.ts';
import type { Engine } from '../runtime/session.ts';
import { type DropKind, dropBetween, predictions } from './predictions.ts';

export interface MaxDropOptions {
  /** Points that may be lost. */
  allowed: number;
  of: DropKind;
  /** Images that it is measured on. */
  images: Batches;
  /** The quantized model with these layers, by the names of their weights, left as they are. */
  make(kept: readonly string[]): Promise<Graph>;
  /** The layers that can be left, those that suffer most first. Asked for at most once. */
  rank(): Promise<readonly string[]>;
  progress?: Progress;
}

/**
 * The quantized model that loses no more points than allowed, with as few layers left in float32 as a bisection finds: it
 * takes that the drop falls when more of the worst layers stay. What is given back has been measured.
 * @throws UserError when the drop does not hold even with one layer quantized
 */
export async function withinDrop(
  engine: Engine,
  source: Graph,
  { allowed, of, images, make, rank, progress = silent }: MaxDropOptions,
): Promise<{ graph: Graph; drop: DropRecord }> {
  const exact = await predictions(engine, source, images, { progress, label: 'FP32' });
  const samples = exact.predicted.length;
  const attempt = async (kept: readonly string[]) => {
    const graph = await make(kept);
    const label = kept.length === 0 ? 'int8' : `int8, ${kept.length} layers in FP32`;
    const found = await predictions(engine, graph, images, { progress, label });
    const points = dropBetween(exact, found, of);
    progress.note(`${label}: ${points.toFixed(2)} points of ${of} lost on ${samples} images`);
    return { graph, drop: { points, allowed, of, samples, kept: [...kept] } };
  };
  const whole = await attempt([]);
  if (whole.drop.points <= allowed) return whole;
  const layers = await rank();
  let holds: Awaited<ReturnType<typeof attempt>> | undefined;
  let [low, high] = [1, layers.length - 1];
  while (low <= high) {
    const count = Math.floor((low + high) / 2);
    const tried = await attempt(layers.slice(0, count));
    if (tried.drop.points <= allowed) {
      holds = tried;
      high = count - 1;
    } else low = count + 1;
  }
  if (!holds) {
    throw new UserError(
      `the drop of ${allowed} points does not hold, whichever of the ${layers.length} layers stay in float32: allow more, or use --dtype fp16`,
    );
  }
  return holds;
}
