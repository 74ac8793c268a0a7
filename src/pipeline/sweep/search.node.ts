import { join } from 'node:path';
import { forChoosing } from '../../dataset/choosing.ts';
import type { ReportSearch } from '../../report/schema.ts';
import { type MeasuredCell, rowsOf, type SweepRow } from '../../report/sweep/rows.ts';
import { wayText } from '../../report/sweep/words.ts';
import type { Recipe } from '../recipe.node.ts';
import { fingerprint, type RunDirectory } from '../run-directory.node.ts';
import { pruneStage } from '../stages/prune.node.ts';
import { chooseRatio } from './choose-ratio.ts';
import { type KnownScores, measureWay, type SweepGround, type Way } from './measure-cell.node.ts';

/** Images that importance and compensation look at, at most. */
const mostLookedAt = 512;

/**
 * Finds how much of a model can be pruned, and in which number type it ships, so that no more than `maxDrop` points are lost
 * and the file has at most `targetBytes`: by bisection, measured on a fifth of the training images that is looked at for
 * nothing else (accuracy on images that a model was trained on is higher; what counts is how much it falls). With a drop the
 * most that it allows is pruned, with bytes alone the least that meets them.
 * @returns the recipe with what was chosen
 */
export async function searched(
  recipe: Recipe,
  { context, dense, data }: Omit<SweepGround, 'options'>,
  runs: RunDirectory,
  content: unknown,
): Promise<{ recipe: Recipe; search: ReportSearch }> {
  const { maxDrop = null, targetBytes = null, searchSamples } = recipe;
  const { progress, seed, signal } = context;
  const samples = Math.min(mostLookedAt, searchSamples);
  // Where nobody says how channels go: by Taylor importance, what is left refitted.
  const usual = { importance: 'taylor', compensate: 'ridge', samples } as const;
  const held = forChoosing({ ...data.dataset, isTest: true });
  const ground: SweepGround = {
    ...{ context, dense, data: { ...data, dataset: held } },
    options: { samples, headDims: 'tied', evalSamples: searchSamples },
  };
  const scores: KnownScores = new Map();
  const tried: MeasuredCell[] = [];
  const measured = async (ratio: number, dtype: Recipe['quantize']['dtype']): Promise<MeasuredCell> => {
    signal?.throwIfAborted();
    const { importance, compensate } =
      ratio === 0 ? { importance: 'l1' as const, compensate: 'none' as const } : usual;
    const way: Way = { ratio, importance, compensate, seed };
    const key = fingerprint(content, 'search', way, dtype, searchSamples);
    let takenOver = false;
    const [cell] = await runs.stage<MeasuredCell[]>(
      join('search', `${ratio}-${dtype}`),
      key,
      (folder) => measureWay(ground, way, [dtype], scores, folder, () => true),
      () => {
        takenOver = true;
      },
    );
    tried.push(cell!);
    const lost = tried.length > 1 ? `, ${(100 * (tried[0]!.top1 - cell!.top1)).toFixed(2)} points lost` : '';
    if (!takenOver) {
      progress.note(`search: ${wayText(rowOf(cell!))}: top-1 ${(100 * cell!.top1).toFixed(2)} %${lost}`);
    }
    return cell!;
  };
  const found = await chooseRatio(measured, recipe.quantize.dtype, { maxDrop, targetBytes });
  const { best, reasons } = found;
  if (recipe.finetune) reasons.push('what training wins back was not counted on');
  const stopped = reasons.join('; ');
  progress.note(`search: chose ${wayText(rowOf(best))}: ${stopped}`);
  const prune = best.ratio === 0 ? undefined : pruneStage.options.parse({ ...usual, ratio: best.ratio });
  return {
    recipe: { ...recipe, prune, quantize: { ...recipe.quantize, dtype: best.dtype } },
    search: {
      ...{ maxDrop, targetBytes, stopped, samples: best.samples },
      measuredOn: held.val.name,
      tried: tried.map((cell) => ({ ...rowOf(cell) })),
      chosen: { ...rowOf(best) },
    },
  };
}

const rowOf = (cell: MeasuredCell): SweepRow => rowsOf([cell], new Map())[0]!;
