import { join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { writeFileWhole } from '../common/files.node.ts';
import { batches } from '../dataset/loader.ts';
import type { Graph } from '../graph/graph.ts';
import { type PruneResult, prune } from '../prune/prune.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { toFloat16 } from '../quantize/float16.ts';
import { quantizeStatic } from '../quantize/static.ts';
import type { TrainingPoint } from '../report/schema.ts';
import { fixedBatches } from '../runtime/fixed-batch.ts';
import { fileCheckpoints } from '../train/checkpoint.node.ts';
import { finetune } from '../train/finetune.ts';
import { modelInfo, setModelInfo } from '../zoo/model-info.ts';
import { type Context, openModelData } from './context.node.ts';
import type { FinetuneRecipe, PruneRecipe, QuantizeRecipe } from './recipe.node.ts';

/** Images at a time where gradients are taken or ranges are found. */
const batchSize = 16;

/** Adds a line to what was done to the model. */
function remember(graph: Graph, line: string): void {
  const info = modelInfo(graph);
  setModelInfo(graph, { ...info, history: [...info.history, line] });
}

/** Training images for a stage that looks at some of them, the same for the same seed. */
async function someImages(context: Context, graph: Graph, data: string, samples: number) {
  const { dataset, preprocessing } = await openModelData(graph, data);
  return batches(dataset.train, preprocessing, {
    engine: context.engine,
    batchSize,
    shuffle: { seed: context.seed, epoch: 0 },
    limit: samples,
    progress: context.progress,
  });
}

/**
 * Prunes, and writes `pruning.json` into `folder`: what was kept, in timm's names and axes.
 * @throws UserError when the importance needs data and there are none
 */
export async function pruneGraph(
  context: Context,
  graph: Graph,
  recipe: PruneRecipe,
  data: string | undefined,
  folder: string,
): Promise<PruneResult & { file: string }> {
  const { samples, targetMacs, ...options } = recipe;
  const needsData = recipe.importance === 'taylor' || recipe.importance === 'hessian';
  if (needsData && !data) throw new UserError(`${recipe.importance} importance looks at images: give --data`);
  const images = needsData ? await someImages(context, graph, data!, samples) : undefined;
  const result = await prune(
    context.engine,
    graph,
    {
      ...options,
      seed: context.seed,
      threads: context.threads,
      ...(targetMacs ? { targetMacs: targetMacs * 1e9 } : {}),
    },
    images,
    context.progress,
  );
  remember(result.graph, `pruned: ${recipe.importance}, ratio ${result.ratio}`);
  const file = join(folder, 'pruning.json');
  writeFileWhole(
    file,
    `${JSON.stringify({ ratio: result.ratio, kept: result.kept, groups: result.groups })}\n`,
  );
  return { ...result, file: 'pruning.json' };
}

export interface FinetunedGraph {
  graph: Graph;
  /** One point an update. */
  training: TrainingPoint[];
}

/**
 * Trains on the training images, with checkpoints in `folder`.
 * @throws InterruptedError when the context's signal fires, after a checkpoint
 */
export async function finetuneGraph(
  context: Context,
  graph: Graph,
  recipe: FinetuneRecipe,
  data: string,
  folder: string,
  { resume, teacher }: { resume: boolean; teacher?: Graph },
): Promise<FinetunedGraph> {
  const { dataset, preprocessing } = await openModelData(graph, data);
  const { distill, ...options } = recipe;
  const { graph: tuned, history } = await finetune(
    context.engine,
    graph,
    dataset,
    {
      ...options,
      preprocessing,
      seed: context.seed,
      threads: context.threads,
      ...(teacher ? { teacher, distill } : {}),
    },
    {
      progress: context.progress,
      checkpoints: fileCheckpoints(folder),
      resume,
      ...(context.signal ? { signal: context.signal } : {}),
    },
  );
  remember(tuned, `finetuned: ${recipe.epochs} epochs, lr ${recipe.lr}`);
  return { graph: tuned, training: history.steps.map(({ step, loss, lr }) => ({ step, loss, lr })) };
}

/** Gives the model its lower precision. @throws UserError when static ranges are asked for without data */
export async function quantizeGraph(
  context: Context,
  graph: Graph,
  recipe: QuantizeRecipe,
  data: string | undefined,
): Promise<Graph> {
  const { dtype, scheme, backend, observer, samples, io } = recipe;
  const { engine, progress } = context;
  if (dtype === 'fp32') return graph;
  const images = data ? await someImages(context, graph, data, samples) : undefined;
  const quantized =
    dtype === 'fp16'
      ? await toFloat16(engine, graph, { io, ...(images ? { calibration: feeds(graph, images) } : {}) })
      : scheme === 'static'
        ? await quantizeStatic(engine, graph, { backend, data: images, observer, progress })
        : await quantizeDynamic(engine, graph, { backend, progress });
  remember(quantized, dtype === 'fp16' ? 'quantized: fp16' : `quantized: int8 ${scheme}, ${backend}`);
  return quantized;
}

async function* feeds(graph: Graph, images: Awaited<ReturnType<typeof someImages>>) {
  const { name, shape } = graph.inputs[0]!;
  for await (const { pixels } of images) {
    for (const { batch } of fixedBatches(pixels, shape?.[0])) yield { [name]: batch };
  }
}
