import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { Batch } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import type { Pruned } from './apply.ts';
import { normsWithStatistics, reestimateStatistics } from './batch-statistics.ts';
import { type Compensation, compensate, countCompensated } from './compensate.ts';
import type { PruneData } from './score-channels.ts';

interface Surroundings {
  readonly threads: number | undefined;
  readonly data: PruneData | undefined;
  readonly progress: Progress;
}

/**
 * Changes what was pruned by what images say; they are held in memory, since every layer looks at them. Batch norms come first:
 * layers are refitted to inputs that are normalized again.
 * @param dense the graph that was pruned
 * @throws UserError when there are no images, or no batch norms for `statistics`
 */
export async function compensated(
  engine: Engine,
  dense: Graph,
  pruned: Pruned,
  how: Compensation,
  { threads, data, progress }: Surroundings,
): Promise<void> {
  if (how === 'none') return;
  if (!data) throw new UserError(`--compensate ${how} needs images: give --data`);
  const images: Pick<Batch, 'pixels'>[] = [];
  for await (const { pixels } of data) images.push({ pixels });
  const options = threads === undefined ? {} : { threads };
  const norms = normsWithStatistics(pruned.graph).length;
  if (norms === 0 && how === 'statistics')
    throw new UserError('the model has no batch norms with statistics of their own');
  if (norms > 0) {
    const task = progress.task('batch statistics', norms, 'norms');
    try {
      await reestimateStatistics(engine, pruned.graph, images, { ...options, task });
    } finally {
      task.done();
    }
  }
  if (how === 'statistics') return;
  const task = progress.task(`compensation (${how})`, countCompensated(dense, pruned.graph), 'layers');
  try {
    const leftAlone = await compensate(engine, dense, pruned, how, images, { ...options, task });
    if (leftAlone.length > 0) {
      progress.note(
        `not compensated, for want of a bias, or as another layer reads their weight or bias too: ${leftAlone.join(', ')}`,
      );
    }
  } finally {
    task.done();
  }
}
