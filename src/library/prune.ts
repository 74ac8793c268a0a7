import type { z } from 'zod';
import { validated } from '../common/options.ts';
import type { Dataset } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import { evidenceOf } from '../prune/importance.ts';
import type { LatencyMeter } from '../prune/latency-table.ts';
import { type PruneOptions, type PruneResult, pruneOptions, prune as prunePass } from '../prune/prune.ts';
import { assertFullPrecision } from '../quantize/record.ts';
import { assertLoads } from '../runtime/loads.ts';
import type { Engine } from '../runtime/session.ts';
import { remember } from '../zoo/model-info.ts';
import { type LabelledImages, samplesOption, someImages } from './stage-data.ts';
import type { Surroundings } from './surroundings.ts';

/** How much is pruned, and which channels go. */
export const pruneModelOptions = pruneOptions.safeExtend({
  samples: samplesOption(256, 'training images that importance and compensation look at'),
});

type Input = z.input<typeof pruneModelOptions>;

/** How much is pruned, and which channels go: the options of `pqv prune`. */
export interface PruneModelOptions extends Input, Surroundings, Pick<PruneOptions, 'scores'> {
  /** What importance and compensation look at. */
  data?: Dataset | LabelledImages;
  /** Who measures, for `targetLatency` and `roundTo` auto: on Node `latencyMeter` of this machine. */
  latency?: LatencyMeter | undefined;
}

/** Whether images are looked at. @param scored whether scores are given */
export const looksAtImages = (
  { importance, compensate, branches }: z.output<typeof pruneModelOptions>,
  scored: boolean,
): boolean =>
  (!scored && evidenceOf(importance) !== undefined) || compensate !== 'none' || branches !== undefined;

/**
 * Takes the least important channels, head dimensions and heads out of a model. The model given is left as
 * it is; in the new one every tensor is smaller by what went, and it computes what the model does with
 * zeros in those places. Finetune it to win back the accuracy.
 *
 * @example
 * ```js
 * const { graph, kept } = await prune(engine, model, { ratio: 0.25, importance: 'taylor', data });
 * kept['blocks.0.mlp.fc1.weight'][0]; // the rows that are still there
 * ```
 * @throws UserError on a wrong option, missing images, a model without anything to prune, or a target that
 *   can't be met
 */
export async function prune(
  engine: Engine,
  model: Graph,
  { data, scores, latency, seed, threads, progress, ...input }: PruneModelOptions,
): Promise<PruneResult> {
  assertFullPrecision(model, 'prune');
  const options = validated(pruneModelOptions, input);
  const { samples, ...pass } = options;
  const looked = looksAtImages(options, scores !== undefined) ? data : undefined;
  const images = looked && someImages(engine, model, looked, samples, { seed, progress });
  const given = { ...pass, scores, seed, threads, latency };
  const result = await prunePass(engine, model, given, images, progress);
  await assertLoads(engine, result.graph, 'the pruned model is of no use');
  const { heads, compensate } = options;
  const { importance } = result.scores.criterion;
  const amount = [
    result.ratio > 0 && `ratio ${result.ratio}`,
    options.targetLatency && `to ${options.targetLatency} ms (${latency?.about})`,
    heads > 0 && `heads ${heads}`,
    result.branches && `${result.branches.length} branches`,
    compensate !== 'none' && `compensated by ${compensate}`,
  ];
  remember(result.graph, `pruned: ${importance}, ${amount.filter(Boolean).join(', ')}`);
  return result;
}
