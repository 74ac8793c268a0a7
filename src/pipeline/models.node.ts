import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import { type Progress, silent } from '../common/progress.ts';
import { batches } from '../dataset/loader.ts';
import { openDataset } from '../dataset/open.node.ts';
import { type Artifact, exportModelFile } from '../export/export-file.node.ts';
import { formatsOf, runtimeNamed } from '../export/formats.node.ts';
import { countMacs } from '../graph/cost.ts';
import type { Graph } from '../graph/graph.ts';
import { type Accuracy, evaluate } from '../measure/accuracy.ts';
import { type Agreement, compareModels, randomInputs } from '../measure/agreement.ts';
import { type BenchmarkFile, benchmark, type Latency } from '../measure/latency.node.ts';
import { weightBytes } from '../onnx/write.ts';
import { type GroupSummary, groupsSummary } from '../prune/prune.ts';
import type { BlockShape } from '../zoo/blocks-of.ts';
import { describeModel, type ModelDescription, parameterCount } from '../zoo/describe.ts';
import { initModel as randomModel } from '../zoo/model.ts';
import { modelInfo } from '../zoo/model-info.ts';
import { modelFiles, saveModel, saveTimm } from '../zoo/save.node.ts';
import { localContext, openModelData } from './context.node.ts';
import { openModel } from './open.node.ts';
import { finetuneSchema, pruneSchema, quantizeSchema } from './recipe.node.ts';
import { finetuneGraph, pruneGraph, quantizeGraph } from './stages.node.ts';

/** What the single-step commands take beside their own options. */
export interface StepOptions {
  threads: number;
  seed: number;
  arch?: string;
  progress?: Progress;
  signal?: AbortSignal;
}

export type Inspection = ModelDescription & { groups?: GroupSummary[] };
export type BenchResult = Latency;

/** Parameters and multiply-accumulates of a model. */
export interface StageSummary {
  parameters: number;
  macs: number;
}

/** @throws UserError when the output folder is the model's own, whose weights would be lost */
function assertElsewhere(reference: string, output: string): void {
  if (!existsSync(reference) || !existsSync(output)) return;
  const model = realpathSync(reference);
  const folder = realpathSync(output);
  const names: string[] = Object.values(modelFiles);
  if (model === folder || (dirname(model) === folder && names.includes(basename(model)))) {
    throw new UserError(`${output} is where the model is, and it would be lost: write to another folder`);
  }
}

const contextOf = ({ threads, seed, progress = silent, signal }: StepOptions) =>
  localContext({ threads, seed, progress, ...(signal ? { signal } : {}) });

const summary = (graph: Graph): StageSummary => ({
  parameters: parameterCount(graph),
  macs: countMacs(graph),
});

/** What is known of a block's sizes, in words. */
function blockSummary({ embedDim, numHeads, headDim, mlpHidden }: BlockShape): string {
  return [
    ...(embedDim === null ? [] : [`embed ${embedDim}`]),
    ...(numHeads === null || headDim === null ? [] : [`heads ${numHeads} x ${headDim}`]),
    ...(mlpHidden === null ? [] : [`MLP ${mlpHidden}`]),
  ].join(', ');
}

/** A timm-layout folder with random weights. @throws UserError on an unknown architecture or argument */
export async function initModel(
  arch: string,
  output: string,
  options: { seed: number; numClasses?: number; modelArgs?: Record<string, unknown> },
): Promise<StageSummary & { architecture: string; files: string[] }> {
  const { seed, numClasses, modelArgs } = options;
  const graph = randomModel(
    {
      architecture: arch,
      ...(numClasses === undefined ? {} : { numClasses }),
      ...(modelArgs ? { modelArgs } : {}),
    },
    seed,
  );
  const files = saveTimm(graph, output);
  return { architecture: arch, ...summary(graph), files };
}

/** Parameters, MACs, input, blocks, and with `groups` what pruning can remove. */
export async function inspectModel(
  reference: string,
  options: { arch?: string; groups?: boolean },
): Promise<Inspection> {
  const graph = await openModel(reference, options);
  const description = await describeModel(graph);
  return options.groups ? { ...description, groups: groupsSummary(graph) } : description;
}

/** Accuracy on the held-out images. */
export async function evaluateModel(
  reference: string,
  options: StepOptions & { data: string; batchSize: number; samples?: number },
): Promise<Accuracy> {
  const context = contextOf(options);
  const graph = await openModel(reference, options);
  const { dataset, preprocessing } = await openModelData(graph, options.data);
  return evaluate(context.engine, graph, dataset.val, {
    preprocessing,
    batchSize: options.batchSize,
    threads: options.threads,
    progress: context.progress,
    ...(options.samples ? { limit: options.samples } : {}),
  });
}

/** Differences of two models' outputs, on random inputs or images. */
export async function compareFiles(
  a: string,
  b: string,
  options: StepOptions & { data?: string; samples: number },
): Promise<Agreement> {
  const context = contextOf(options);
  const first = await openModel(a, options);
  const second = await openModel(b, options);
  const inputs = options.data
    ? await imageInputs(first, options.data, options.samples)
    : randomInputs(inputShape(first), { images: options.samples, batchSize: 16, seed: options.seed });
  return compareModels(context.engine, first, second, inputs, { threads: options.threads });
}

async function* imageInputs(graph: Graph, reference: string, samples: number) {
  const { preprocessing } = modelInfo(graph);
  const dataset = await openDataset(reference);
  const context = contextOf({ threads: 1, seed: 0 });
  const loader = batches(dataset.val, preprocessing, {
    engine: context.engine,
    batchSize: 16,
    limit: samples,
  });
  for await (const { pixels } of loader) yield pixels;
}

function inputShape(graph: Graph): [number, number, number] {
  const shape = graph.inputs[0]?.shape?.slice(1) ?? [];
  if (shape.length !== 3 || shape.some((dim) => typeof dim !== 'number')) {
    throw new UserError(`the model's input has no fixed shape: [${graph.inputs[0]?.shape}]`);
  }
  return shape as [number, number, number];
}

/** Prunes a model and writes it. */
export async function pruneModel(
  reference: string,
  options: StepOptions & { output: string; data?: string } & Record<string, unknown>,
): Promise<{ before: StageSummary; after: StageSummary; blocks: string; files: string[] }> {
  const recipe = validated(pruneSchema, picked(options, Object.keys(pruneSchema.shape)));
  assertElsewhere(reference, options.output);
  const graph = await openModel(reference, options);
  const before = summary(graph);
  const pruned = await pruneGraph(contextOf(options), graph, recipe, options.data, options.output);
  const files = [...saveModel(pruned.graph, options.output), pruned.file];
  const { blocks } = await describeModel(pruned.graph);
  const [block] = blocks;
  return { before, after: summary(pruned.graph), blocks: block ? blockSummary(block) : '', files };
}

/** Trains a model further and writes it. */
export async function finetuneModel(
  reference: string,
  options: StepOptions & {
    output: string;
    data: string;
    teacher?: string;
    distill: number;
    resume?: boolean;
  } & Record<string, unknown>,
): Promise<{ epochs: number; steps: number; loss: number; top1: number; files: string[] }> {
  const given = picked(options, Object.keys(finetuneSchema.shape));
  const recipe = validated(finetuneSchema, { ...given, distill: options.teacher ? options.distill : 0 });
  assertElsewhere(reference, options.output);
  const context = contextOf(options);
  const graph = await openModel(reference, options);
  const teacher = options.teacher ? await openModel(options.teacher, {}) : undefined;
  const tuned = await finetuneGraph(context, graph, recipe, options.data, options.output, {
    resume: options.resume ?? false,
    ...(teacher ? { teacher } : {}),
  });
  const files = saveModel(tuned.graph, options.output);
  const { dataset, preprocessing } = await openModelData(tuned.graph, options.data);
  const { top1 } = await evaluate(context.engine, tuned.graph, dataset.val, {
    preprocessing,
    batchSize: 32,
    threads: options.threads,
    progress: context.progress,
  });
  const last = tuned.training.at(-1)!;
  return { epochs: recipe.epochs, steps: last.step, loss: last.loss, top1, files };
}

/** Quantizes a model and writes it. */
export async function quantizeModel(
  reference: string,
  options: StepOptions & { output: string; data?: string; samples: number } & Record<string, unknown>,
): Promise<{ before: number; after: number; dtype: string; backend: string | undefined; files: string[] }> {
  const recipe = validated(quantizeSchema, picked(options, Object.keys(quantizeSchema.shape)));
  assertElsewhere(reference, options.output);
  const graph = await openModel(reference, options);
  const before = weightBytes(graph);
  const quantized = await quantizeGraph(contextOf(options), graph, recipe, options.data);
  const files = saveModel(quantized, options.output);
  return {
    before,
    after: weightBytes(quantized),
    dtype: recipe.dtype,
    backend: recipe.dtype === 'int8' ? recipe.backend : undefined,
    files,
  };
}

/** Writes the file a runtime loads. */
export async function exportModel(
  reference: string,
  format: string,
  output: string,
  options: StepOptions & { formatOptions: Readonly<Record<string, unknown>> },
): Promise<Artifact> {
  const graph = await openModel(reference, options);
  return exportModelFile(contextOf(options).engine, graph, format, output, options.formatOptions);
}

/**
 * Latency of models, interleaved. A file that the runtime loads is timed as it is; a folder or checkpoint
 * in the form that would be deployed there.
 * @param options.engine PyTorch's quantized engine
 */
export async function benchModels(
  references: readonly string[],
  options: StepOptions & {
    runtime: string;
    engine?: string;
    runs: number;
    warmup: number;
    batchSize: number;
  },
): Promise<BenchResult[]> {
  const context = contextOf(options);
  const loaded = formatsOf(runtimeNamed(options.runtime));
  const [deployed] = loaded;
  const scratch = mkdtempSync(join(tmpdir(), 'pqv-bench-'));
  try {
    const files: BenchmarkFile[] = [];
    for (const [i, reference] of references.entries()) {
      let path = reference;
      if (!loaded.some(({ extension }) => extension === extname(reference))) {
        path = join(scratch, `${i}${deployed!.extension}`);
        await exportModelFile(context.engine, await openModel(reference, options), deployed!.name, path);
      }
      files.push({ name: reference, path });
    }
    return await benchmark(files, {
      runtime: options.runtime,
      runs: options.runs,
      warmup: options.warmup,
      threads: options.threads,
      batch: options.batchSize,
      progress: context.progress,
      ...(options.engine ? { settings: { engine: options.engine } } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The options of the given names that are set. */
function picked(options: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]),
  );
}
