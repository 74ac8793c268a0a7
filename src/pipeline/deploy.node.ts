import { copyFileSync, existsSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { makeFolder } from '../common/files.node.ts';
import { exportModelFile } from '../export/export-file.node.ts';
import { formatNamed } from '../export/formats.node.ts';
import { cardOf } from '../export/read-card.node.ts';
import { countMacs } from '../graph/cost.ts';
import type { Graph } from '../graph/graph.ts';
import { type Accuracy, evaluate } from '../measure/accuracy.ts';
import { quantizationFacts, quantizationTitle } from '../quantize/describe.ts';
import { quantization } from '../quantize/record.ts';
import type { ReportArtifact, ReportStage, TrainingPoint } from '../report/schema.ts';
import { parameterCount } from '../zoo/describe.ts';
import type { Context, ModelData } from './context.node.ts';
import type { Recipe } from './recipe.node.ts';
import type { StageOutput } from './stages/stage.ts';

/** What a finished stage left behind, as its marker keeps it. */
export interface StageResult {
  entry: ReportStage;
  accuracy: Accuracy;
  training?: TrainingPoint[];
}

interface Place {
  /** Of the run; the report's paths are relative to it. */
  directory: string;
  /** Of the stage. */
  folder: string;
}

/** In which stages are measured and timed. */
const measuredFormat = 'onnx';

/** How many predictions the report shows. */
const examples = 12;

/**
 * Writes the file that would ship after a stage, and measures the accuracy of that file.
 * @param place.format options of the file's format
 */
export async function deployStage(
  context: Context,
  stage: ReportStage['stage'],
  { graph, training }: StageOutput,
  { dataset, preprocessing }: ModelData,
  place: Place & { format: Readonly<Record<string, unknown>> | undefined; evalSamples: number | undefined },
): Promise<StageResult> {
  const { engine, threads, progress, signal } = context;
  const file = join(place.folder, 'deploy.onnx');
  const { bytes } = await exportModelFile(engine, graph, measuredFormat, file, place.format);
  const accuracy = await evaluate(engine, file, dataset.val, {
    preprocessing,
    batchSize: 32,
    threads,
    examples,
    progress,
    label: `accuracy, ${stage}`,
    limit: place.evalSamples,
    signal,
  });
  const { top1, top5, loss, samples } = accuracy;
  const numbers = quantization(graph);
  const entry: ReportStage = {
    stage,
    precision: numbers?.dtype ?? 'fp32',
    backend: numbers?.backend,
    weightError: numbers?.weightError,
    notes: numbers && [
      quantizationTitle(numbers),
      ...quantizationFacts(numbers),
      ...(numbers.check?.warnings ?? []),
    ],
    top1,
    top5,
    loss,
    samples,
    parameters: parameterCount(graph),
    macs: countMacs(graph),
    bytes,
    file: relative(place.directory, file),
  };
  return { entry, accuracy, training };
}

/** Writes the files that leave the run. The one that the last stage was measured in has been written and checked. */
export async function writeArtifacts(
  { engine }: Context,
  graph: Graph,
  last: ReportStage,
  recipe: Recipe,
  { directory, folder }: Place,
): Promise<ReportArtifact[]> {
  const written: ReportArtifact[] = [];
  for (const name of recipe.formats) {
    const file = join(folder, `model${formatNamed(name).extension}`);
    const { bytes, verified } =
      name === measuredFormat
        ? copyDeployed(join(directory, last.file), file, last.bytes)
        : await exportModelFile(engine, graph, name, file, recipe.export[name]);
    written.push({ format: name, file: relative(directory, file), bytes, verified });
  }
  return written;
}

/** Copies a model with its card; the weights beside it keep their name, which stands in the model. */
function copyDeployed(from: string, to: string, bytes: number): { bytes: number; verified: 'run' } {
  makeFolder(join(to, '..'));
  copyFileSync(from, to);
  copyFileSync(cardOf(from), cardOf(to));
  const weights = `${from}.data`;
  if (existsSync(weights)) copyFileSync(weights, join(to, '..', basename(weights)));
  return { bytes, verified: 'run' };
}
