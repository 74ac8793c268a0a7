import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph, Value } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { isClassifier } from '../zoo/model-info.ts';
import type { Images } from './accumulate.ts';
import type { PruningGroup } from './group.ts';
import {
  type Evidence,
  evidenceOf,
  type Importance,
  type ScoreOptions,
  type Sensitivities,
  scoredParameters,
  scoreGroups,
} from './importance.ts';
import { inputNorms } from './input-norms.ts';
import { someOf } from './plan-notes.ts';
import { axisCurvatures, summedGradients } from './sensitivity.ts';

type Measure = (...given: Parameters<typeof summedGradients>) => Promise<Sensitivities>;

/** How each kind of evidence is found. */
const measures: Readonly<Record<Evidence, Measure>> = {
  gradients: summedGradients,
  curvatures: axisCurvatures,
  inputNorms,
};

/** Images, labelled where importance looks at labels. */
export interface PruneData extends AsyncIterable<Images> {
  /** For the progress bar. */
  readonly images?: number;
}

export interface ChannelScoring extends Omit<ScoreOptions, 'sensitivities' | 'importance'> {
  readonly importance: Importance;
  readonly threads?: number | undefined;
}

/**
 * The importance of each unit of each group, by a criterion and, where it needs them, images.
 * @throws UserError when images are needed and none are given
 */
export async function scoreChannels(
  engine: Engine,
  graph: Graph,
  groups: readonly PruningGroup[],
  { threads, ...options }: ChannelScoring,
  data: PruneData | undefined,
  progress: Progress,
): Promise<Float64Array[]> {
  const sensitivities = await sensitivitiesFor(
    engine,
    graph,
    groups,
    { ...options, threads },
    data,
    progress,
  );
  return scoreGroups(engine, groups, { ...options, sensitivities });
}

async function sensitivitiesFor(
  engine: Engine,
  graph: Graph,
  groups: readonly PruningGroup[],
  { importance, threads, memory }: ChannelScoring,
  data: PruneData | undefined,
  progress: Progress,
): Promise<Sensitivities | undefined> {
  const evidence = evidenceOf(importance);
  if (!evidence) return undefined;
  if (!data) throw new UserError(`importance ${importance} needs images: give --data`);
  if (evidence !== 'inputNorms' && !isClassifier(graph)) {
    progress.note('the model has no classifier: importance is by what changes the squares of its outputs');
  }
  const wanted = scoredParameters(groups);
  const task = progress.task(`importance (${importance})`, data.images ?? 0, 'images');
  try {
    const found = await measures[evidence](engine, graph, wanted, data, {
      task,
      threads,
      memory: memory && memory * 1e9,
    });
    for (const line of unscored(wanted, found)) progress.note(line);
    return found;
  } finally {
    task.done();
  }
}

/** Weights that evidence says nothing of; vectors are norms, which need not be mentioned. */
function unscored(wanted: readonly Value[], found: Sensitivities): string[] {
  const names = wanted
    .filter((value) => !found.has(value) && value.shape!.length > 1)
    .map(({ name }) => name);
  return names.length > 0 ? [`not scored, as no Linear or convolution reads them: ${someOf(names)}`] : [];
}
