import { statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import type { Progress } from '../common/progress.ts';
import { exportModelFile } from '../export/export-file.node.ts';
import { formatNamed } from '../export/formats.node.ts';
import { countMacs } from '../graph/cost.ts';
import type { Graph } from '../graph/graph.ts';
import { type Accuracy, evaluate } from '../measure/accuracy.ts';
import { benchmark } from '../measure/latency.node.ts';
import { describeMachine } from '../measure/machine.node.ts';
import { loadOnnx } from '../onnx/file.node.ts';
import { readReport, writeReport } from '../report/files.node.ts';
import type { Report, ReportArtifact, ReportStage, TrainingPoint } from '../report/schema.ts';
import { stageTable } from '../report/table.ts';
import { reportSamples } from '../report/thumbnail.node.ts';
import { parameterCount } from '../zoo/describe.ts';
import { saveModel } from '../zoo/save.node.ts';
import { layerChannels } from './channels.ts';
import { compareBackends } from './compare-backends.node.ts';
import { type Context, localContext, openModelData } from './context.node.ts';
import { openModel } from './open.node.ts';
import { quantizeSchema, type Recipe, recipeSchema } from './recipe.node.ts';
import { fingerprint, RunDirectory } from './run-directory.node.ts';
import { finetuneGraph, pruneGraph, quantizeGraph } from './stages.node.ts';

export interface OptimizeOptions {
  /** Take over the finished stages of an earlier run in the same directory. */
  resume: boolean;
  progress: Progress;
  signal?: AbortSignal;
}

export interface OptimizeResult {
  report: Report;
  /** The stage table for a terminal. */
  table: string;
  /** Path of `report.html`. */
  html: string;
}

type StageName = ReportStage['stage'];

/** What a finished stage left behind, as its marker keeps it. */
interface StageResult {
  entry: ReportStage;
  accuracy: Accuracy;
  training?: TrainingPoint[];
}

/** A stage to do: what its result depends on, and how a graph becomes the next one. */
interface Step {
  name: StageName;
  precision: ReportStage['precision'];
  backend?: string;
  recipe: unknown;
  work(graph: Graph, folder: string): Promise<{ graph: Graph; training?: TrainingPoint[] }>;
}

/** How many predictions the report shows. */
const examples = 12;

/**
 * The whole job: load, prune, finetune, quantize, export, measure, report. Every stage's model is a
 * folder of the run directory with its accuracy; latency is measured at the end, all stages side by side.
 * @throws UserError when the recipe is wrong or a stage can't be done
 * @throws InterruptedError when `signal` fires; the run can then be resumed
 */
export async function optimizeModel(
  input: unknown,
  directory: string,
  { resume, progress, signal }: OptimizeOptions,
): Promise<OptimizeResult> {
  const recipe = validated(recipeSchema, input);
  const context = localContext({
    threads: recipe.threads,
    seed: recipe.seed,
    progress,
    ...(signal ? { signal } : {}),
  });
  const source = await openModel(recipe.model, { arch: recipe.arch });
  const data = await openModelData(source, recipe.data);
  const run = new RunDirectory(directory, resume);
  const finished: StageResult[] = [];
  let graph = source;
  let trained = { graph: source, key: '' };
  let key = fingerprint(recipe.model, recipe.data, recipe.seed, recipe.evalSamples);
  for (const step of steps(recipe, context, source)) {
    signal?.throwIfAborted();
    key = fingerprint(key, step.name, step.recipe);
    const before = graph;
    const result = await run.stage<StageResult>(
      step.name,
      key,
      async (folder) => {
        const made = await step.work(before, folder);
        graph = made.graph;
        saveModel(graph, folder);
        return measureStage(step, made, folder);
      },
      (name) => progress.note(`${name}: taken over from the earlier run`),
    );
    if (graph === before && step.name !== 'dense')
      graph = loadOnnx(join(run.folder(step.name), 'model.onnx'));
    if (step.name !== 'quantized') trained = { graph, key };
    finished.push(result);
  }
  const artifacts = await run.stage(
    'artifacts',
    fingerprint(key, recipe.formats),
    (folder) => writeArtifacts(graph, folder),
    (name) => progress.note(`${name}: taken over from the earlier run`),
  );
  const { observer, samples } = recipe.quantize ?? validated(quantizeSchema, {});
  const calibration = { observer, samples };
  const backends = recipe.compareBackends
    ? await run.stage(
        'backends',
        fingerprint(trained.key, calibration),
        (folder) =>
          compareBackends(context, trained.graph, {
            data: recipe.data,
            folder,
            calibration,
            ...(recipe.evalSamples ? { evalSamples: recipe.evalSamples } : {}),
          }),
        (name) => progress.note(`${name}: taken over from the earlier run`),
      )
    : undefined;
  const stages = await timeStages(finished.map(({ entry }) => entry));
  const last = finished.at(-1)!;
  const report: Report = {
    model: recipe.model,
    recipe: recipe as unknown as Record<string, unknown>,
    machine: { ...describeMachine(context.engine.name, recipe.threads) },
    measuredAt: new Date().toISOString(),
    stages,
    artifacts,
    training: finished.flatMap(({ training }) => training ?? []),
    channels: layerChannels(source, trained.graph),
    samplesShown: await reportSamples(
      [...last.accuracy.examples, ...last.accuracy.mistakes],
      data.dataset.val,
      data.dataset.classes,
    ),
    ...(backends ? { backends } : {}),
  };
  return finish(directory, report);

  async function measureStage(
    step: Step,
    made: { graph: Graph; training?: TrainingPoint[] },
    folder: string,
  ): Promise<StageResult> {
    const accuracy = await evaluate(context.engine, made.graph, data.dataset.val, {
      preprocessing: data.preprocessing,
      batchSize: 32,
      threads: recipe.threads,
      examples,
      progress,
      label: `accuracy, ${step.name}`,
      ...(recipe.evalSamples ? { limit: recipe.evalSamples } : {}),
      ...(signal ? { signal } : {}),
    });
    const file = join(folder, 'deploy.onnx');
    const { bytes } = await exportModelFile(context.engine, made.graph, 'onnx', file);
    const entry: ReportStage = {
      stage: step.name,
      precision: step.precision,
      ...(step.backend ? { backend: step.backend } : {}),
      top1: accuracy.top1,
      top5: accuracy.top5,
      loss: accuracy.loss,
      samples: accuracy.samples,
      parameters: parameterCount(made.graph),
      macs: countMacs(made.graph),
      bytes,
      file: relative(directory, file),
    };
    return { entry, accuracy, ...(made.training ? { training: made.training } : {}) };
  }

  async function writeArtifacts(final: Graph, folder: string): Promise<ReportArtifact[]> {
    const written: ReportArtifact[] = [];
    for (const format of recipe.formats) {
      const file = join(folder, `model${formatNamed(format).extension}`);
      const { bytes, verified } = await exportModelFile(context.engine, final, format, file);
      written.push({ format, file: relative(directory, file), bytes, verified });
    }
    return written;
  }

  async function timeStages(entries: readonly ReportStage[]): Promise<ReportStage[]> {
    const timings = await benchmark(
      entries.map(({ stage, file }) => ({ name: stage, path: join(directory, file) })),
      {
        runtime: 'ort',
        runs: recipe.runs,
        warmup: 5,
        threads: recipe.threads,
        progress,
        ...(signal ? { signal } : {}),
      },
    );
    const dense = timings[0]!.median;
    return entries.map((entry, i) => {
      const { median, p95, runs, peakRssBytes } = timings[i]!;
      return { ...entry, latencyMs: { median, p95, runs }, peakRssBytes, speedup: dense / median };
    });
  }
}

/** The stages a recipe asks for, in order. */
function* steps(recipe: Recipe, context: Context, dense: Graph): Generator<Step> {
  yield { name: 'dense', precision: 'fp32', recipe: null, work: async (graph) => ({ graph }) };
  const { prune, finetune, quantize } = recipe;
  if (prune) {
    yield {
      name: 'pruned',
      precision: 'fp32',
      recipe: prune,
      work: (graph, folder) => pruneGraph(context, graph, prune, recipe.data, folder),
    };
  }
  if (finetune) {
    yield {
      name: 'finetuned',
      precision: 'fp32',
      recipe: finetune,
      work: (graph, folder) =>
        finetuneGraph(context, graph, finetune, recipe.data, folder, {
          resume: true,
          ...(finetune.distill > 0 ? { teacher: dense } : {}),
        }),
    };
  }
  if (quantize && quantize.dtype !== 'fp32') {
    yield {
      name: 'quantized',
      precision: quantize.dtype,
      ...(quantize.dtype === 'int8' ? { backend: quantize.backend } : {}),
      recipe: quantize,
      work: async (graph) => ({ graph: await quantizeGraph(context, graph, quantize, recipe.data) }),
    };
  }
}

/**
 * Makes `report.html` again from a run directory.
 * @throws UserError when there is no `report.json`, or it is none
 */
export async function rebuildReport(directory: string): Promise<OptimizeResult> {
  const report = readReport(directory);
  for (const { file } of [...report.stages, ...report.artifacts]) {
    if (!statSync(join(directory, file), { throwIfNoEntry: false })) {
      throw new UserError(`${directory}: ${file} is gone; run pqv optimize again with --resume`);
    }
  }
  return finish(directory, report);
}

async function finish(directory: string, report: Report): Promise<OptimizeResult> {
  const html = await writeReport(directory, report);
  return { report, table: stageTable(report, { colour: process.stdout.isTTY === true }), html };
}
