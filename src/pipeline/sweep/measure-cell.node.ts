import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../../common/files.node.ts';
import { exportModelFile } from '../../export/export-file.node.ts';
import { cardOf } from '../../export/read-card.node.ts';
import { countMacs } from '../../graph/cost.ts';
import type { Graph } from '../../graph/graph.ts';
import { prune } from '../../library/prune.ts';
import { quantize } from '../../library/quantize.ts';
import { evaluate } from '../../measure/accuracy.ts';
import type { PruneResult } from '../../prune/prune.ts';
import type { ScoreRecord } from '../../prune/score-record.ts';
import type { Cell, MeasuredCell } from '../../report/sweep/rows.ts';
import { parameterCount } from '../../zoo/describe.ts';
import type { Context, ModelData } from '../context.node.ts';
import type { SweepOptions } from './sweep-options.ts';

/** A way of pruning, whatever the number type that ships. */
export type Way = Omit<Cell, 'dtype'>;

/** What all models of a sweep are made from, and measured on. */
export interface SweepGround {
  readonly context: Context;
  readonly dense: Graph;
  readonly data: ModelData;
  readonly options: Pick<SweepOptions, 'samples' | 'headDims' | 'evalSamples'>;
}

/** Importance that was computed, by its name and the seed: looked at once, pruned from as often as wanted. */
export type KnownScores = Map<string, ScoreRecord>;

/** The model that a way leads to; that of ratio 0 is the one that it starts from. */
export async function prunedTo(
  { context, dense, data, options }: SweepGround,
  { ratio, importance, compensate, seed }: Way,
  scores: KnownScores,
): Promise<{ graph: Graph; result?: PruneResult }> {
  if (ratio === 0) return { graph: dense };
  const { engine, threads, progress } = context;
  const key = `${importance} ${seed}`;
  const { samples, headDims } = options;
  const result = await prune(engine, dense, {
    ...{ ratio, importance, compensate, samples, headDims, seed, threads, progress },
    ...{ scores: scores.get(key), data: data.dataset, check: false },
  });
  scores.set(key, result.scores);
  return { graph: result.graph, result };
}

/** A model in a number type. */
export async function inType(
  { context, data }: Pick<SweepGround, 'context' | 'data'>,
  graph: Graph,
  dtype: Cell['dtype'],
  seed: number,
): Promise<Graph> {
  if (dtype === 'fp32') return graph;
  const { engine, progress } = context;
  const settings = { dtype, seed, progress, force: true };
  return quantize(engine, graph, { ...settings, data: data.dataset });
}

/**
 * Makes the models of a way, one for each number type, and measures the files that would ship. A file stays in `folder` as
 * `DTYPE.onnx` where it is the first of its shape, to be timed.
 */
export async function measureWay(
  ground: SweepGround,
  way: Way,
  dtypes: readonly Cell['dtype'][],
  scores: KnownScores,
  folder: string,
  isKnown: (shape: string) => boolean,
): Promise<MeasuredCell[]> {
  const { context, data, options } = ground;
  const { engine, threads, progress, signal } = context;
  const { graph } = await prunedTo(ground, way, scores);
  const cells: MeasuredCell[] = [];
  makeFolder(folder);
  for (const dtype of dtypes) {
    const made = await inType(ground, graph, dtype, way.seed);
    const [parameters, macs] = [parameterCount(made), countMacs(made)];
    const shape = `${dtype} ${parameters} ${macs}`;
    const file = join(folder, `${dtype}.onnx`);
    const { bytes } = await exportModelFile(engine, made, 'onnx', file);
    const { top1, samples } = await evaluate(engine, file, data.dataset.val, {
      preprocessing: data.preprocessing,
      ...{ batchSize: 32, threads, progress, signal },
      label: `${way.ratio === 0 ? 'dense' : `${way.importance}, ${way.ratio}`}, ${dtype}`,
      limit: options.evalSamples,
    });
    const done = isKnown(shape) ? [file, `${file}.data`, cardOf(file)] : [cardOf(file)];
    for (const path of done) rmSync(path, { force: true });
    cells.push({ ...way, dtype, top1, samples, parameters, macs, bytes, shape });
  }
  return cells;
}
