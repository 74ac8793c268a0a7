import { statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { writeFileWhole } from '../common/files.node.ts';
import type { Progress } from '../common/progress.ts';
import { assertMatches } from '../graph/glob.ts';
import type { Graph } from '../graph/graph.ts';
import { benchmark } from '../measure/latency.node.ts';
import { describeMachine } from '../measure/machine.node.ts';
import { loadOnnx } from '../onnx/file.node.ts';
import type { Kept } from '../prune/apply.ts';
import { assertFullPrecision, type Change } from '../quantize/record.ts';
import { readReport, writeReport } from '../report/files.node.ts';
import type { Report, ReportStage } from '../report/schema.ts';
import { stageTable } from '../report/table.ts';
import { reportSamples } from '../report/thumbnail.node.ts';
import { presetLine } from '../train/presets.ts';
import type { TrainingWatcher } from '../train/watch.ts';
import { saveModel } from '../zoo/save.node.ts';
import { layerChannels } from './channels.ts';
import { compareBackends } from './compare-backends.node.ts';
import { assertClassifier, localContext, openModelData } from './context.node.ts';
import { deployStage, type StageResult, writeArtifacts } from './deploy.node.ts';
import { withDirectory } from './directory-lock.node.ts';
import { keptDevices } from './keep-devices.node.ts';
import { modelDigest } from './model-digest.node.ts';
import { openModel } from './open.node.ts';
import { finetuningOf, type Recipe, recipeOf } from './recipe.node.ts';
import { recipeText } from './recipe-file.node.ts';
import { fingerprint, RunDirectory } from './run-directory.node.ts';
import { keptIn } from './stages/prune.node.ts';
import { type Step, stepsOf } from './steps.node.ts';
import { searched } from './sweep/search.node.ts';
import { version } from './version.node.ts';

export interface OptimizeOptions {
  /** Take over the finished stages of an earlier run in the same directory. */
  resume: boolean;
  progress: Progress;
  signal?: AbortSignal;
  /** Who follows the finetuning. */
  watcher?: TrainingWatcher | undefined;
}

export interface OptimizeResult {
  report: Report;
  /** The stage table for a terminal. */
  table: string;
  /** Path of `report.html`. */
  html: string;
}

/**
 * The whole job: load, prune, finetune, quantize, export, measure, report. Every stage's model is a
 * folder of the run directory with the file that would ship and its accuracy; latency is measured at the
 * end, all stages side by side. The recipe is in `recipe.yaml`, with nothing left open.
 * @param input a recipe; what it leaves open has its default
 * @throws UserError when the recipe is wrong or a stage can't be done
 * @throws InterruptedError when `signal` fires; the run can then be resumed
 */
export async function optimizeModel(
  input: unknown,
  directory: string,
  options: OptimizeOptions,
): Promise<OptimizeResult> {
  const recipe = recipeOf(input);
  const preset = recipe.finetune && presetLine(finetuningOf(input)!);
  if (preset) options.progress.note(preset);
  return withDirectory(directory, () => run(recipe, directory, options));
}

/** What is done to a model by the step of a name. */
const changes: Partial<Record<Step['name'], Change>> = {
  pruned: 'prune',
  finetuned: 'train',
  quantized: 'quantize',
};

async function run(
  asked: Recipe,
  directory: string,
  { resume, progress, signal, watcher }: OptimizeOptions,
): Promise<OptimizeResult> {
  const { threads, seed, evalSamples } = asked;
  const context = localContext({ threads, seed, progress, signal, watcher });
  const source = await openModel(asked.model, { ...asked, progress });
  assertClassifier(source);
  const searches = !asked.prune && (asked.maxDrop !== undefined || asked.targetBytes !== undefined);
  if (searches) assertFullPrecision(source, 'prune');
  for (const { name } of stepsOf(asked)) if (changes[name]) assertFullPrecision(source, changes[name]);
  assertMatches('quantize.ignore', asked.quantize.ignore, [...source.constants.keys()]); // not after hours of training
  const data = await openModelData(source, asked.data, progress, asked);
  const runs = new RunDirectory(directory, resume);
  const content = [version, modelDigest(source), await data.dataset.version?.()];
  const { recipe, search } = searches
    ? await searched(asked, { context, dense: source, data }, runs, content)
    : { recipe: asked, search: undefined };
  writeFileWhole(join(directory, 'recipe.yaml'), recipeText(recipe));
  const resumed = (name: string) => progress.note(`${name}: taken over from the earlier run`);
  const steps = stepsOf(recipe);
  const finished: StageResult[] = [];
  let graph: Graph = source;
  let trained = { graph: source, key: '' };
  let key = fingerprint(content, recipe.model, recipe.data, recipe.maxPixels, seed, evalSamples);
  for (const step of steps) {
    signal?.throwIfAborted();
    const format = step === steps.at(-1) ? recipe.export.onnx : {};
    key = fingerprint(key, step.name, step.options, format);
    const before = graph;
    const work = async (folder: string) => {
      const models = { graph: before, dense: source, kept: keptOf(recipe, runs) };
      const made = await step.run({ context, ...models, data, folder, resume: true });
      graph = made.graph;
      saveModel(graph, folder);
      return deployStage(context, step.name, made, data, { directory, folder, format, evalSamples });
    };
    const result = await runs.stage<StageResult>(step.name, key, work, resumed);
    const takenOver = graph === before && step.name !== 'dense';
    if (takenOver) graph = loadOnnx(join(runs.folder(step.name), 'model.onnx'));
    if (result.entry.precision === 'fp32') trained = { graph, key };
    finished.push(result);
  }
  const last = finished.at(-1)!;
  const artifacts = await runs.stage(
    'artifacts',
    fingerprint(key, recipe.formats, recipe.export),
    (folder) => writeArtifacts(context, graph, last.entry, recipe, { directory, folder }),
    resumed,
  );
  const { weights, assumeVnni, observer, samples, preset, migrate, correctBias } = recipe.quantize;
  const { learnRounding, learnSteps, learnSamples } = recipe.quantize;
  const choices = {
    ...{ weights, assumeVnni, observer, samples, preset, migrate, correctBias },
    ...{ learnRounding, learnSteps, learnSamples },
  };
  const backends = recipe.compareBackends
    ? await runs.stage(
        'backends',
        fingerprint(trained.key, choices),
        (folder) => compareBackends(context, trained.graph, { data, folder, choices, evalSamples }),
        resumed,
      )
    : undefined;
  const stages = await timeStages(
    finished.map(({ entry }) => entry),
    recipe,
    { directory, progress, signal },
  );
  const report: Report = {
    model: recipe.model,
    recipe: recipe as unknown as Record<string, unknown>,
    machine: { ...describeMachine(context.engine.name, threads) },
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
    backends,
    search,
  };
  tellBudget(report, recipe, progress);
  const { devices, note } = await keptDevices(directory, report);
  if (note) progress.note(note);
  return finish(directory, devices.length > 0 ? { ...report, devices } : report);
}

/** Says whether what ships is larger, or lost more on the images that accuracy is reported of, than was allowed. */
function tellBudget({ stages }: Report, { maxDrop, targetBytes }: Recipe, progress: Progress): void {
  const [first, last, bytes] = [stages[0]?.top1, stages.at(-1)?.top1, stages.at(-1)?.bytes];
  if (targetBytes !== undefined && bytes !== undefined && bytes > targetBytes)
    progress.note(
      `what ships has ${bytes} bytes, ${bytes - targetBytes} more than the ${targetBytes} asked for`,
    );
  if (maxDrop === undefined || first === undefined || last === undefined) return;
  const lost = 100 * (first - last);
  const verdict = lost <= maxDrop + 1e-9 ? 'within' : `${(lost - maxDrop).toFixed(2)} more than`;
  progress.note(
    `what ships loses ${lost.toFixed(2)} points of top-1, ${verdict} the ${maxDrop} that may be lost`,
  );
}

/** What the run has kept of its model, where finetuning looks at that. */
const keptOf = ({ prune, finetune }: Recipe, runs: RunDirectory): Kept | undefined =>
  prune && finetune?.distillKind === 'feature' ? keptIn(runs.folder('pruned')) : undefined;

async function timeStages(
  entries: readonly ReportStage[],
  { runs, threads }: Recipe,
  { directory, progress, signal }: { directory: string; progress: Progress; signal?: AbortSignal },
): Promise<ReportStage[]> {
  const files = entries.map(({ stage, file }) => ({ name: stage, path: join(directory, file) }));
  const timings = await benchmark(files, { runtime: 'ort', runs, warmup: 5, threads, progress, signal });
  const dense = timings[0]!.median;
  return entries.map((entry, i) => {
    const { median, p95, runs, peakRssBytes } = timings[i]!;
    return { ...entry, latencyMs: { median, p95, runs }, peakRssBytes, speedup: dense / median };
  });
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
