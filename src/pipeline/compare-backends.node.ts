import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { validated } from '../common/options.ts';
import { silent } from '../common/progress.ts';
import { exportModelFile } from '../export/export-file.node.ts';
import type { Graph } from '../graph/graph.ts';
import { evaluate } from '../measure/accuracy.ts';
import { type BackendName, backends, type NumberOptions, numbersOf } from '../quantize/backends.ts';
import { schemes } from '../quantize/quantize.ts';
import type { ReportBackend } from '../report/schema.ts';
import type { Context, ModelData } from './context.node.ts';
import { type QuantizeRecipe, quantizeStage } from './stages/quantize.node.ts';

export interface CompareBackendsOptions {
  data: ModelData;
  /** How weights are rounded, and how static ranges are found. */
  choices: Pick<
    QuantizeRecipe,
    | 'weights'
    | 'assumeVnni'
    | 'observer'
    | 'samples'
    | 'preset'
    | 'migrate'
    | 'correctBias'
    | 'learnRounding'
    | 'learnSteps'
    | 'learnSamples'
  >;
  /** Images of the held-out split that accuracy is measured on; all of them when absent. */
  evalSamples?: number;
  /** A place for the files while they are measured; they don't stay. */
  folder: string;
}

/**
 * What a float32 model would be in every lower precision: float16, and int8 with the numbers of each
 * backend under each scheme. Each is written as the `.onnx` file that would ship, which is then measured on
 * ONNX Runtime. Backends that ask for the same numbers share one file and its measurement.
 * @throws InterruptedError when the context's signal fires
 */
export async function compareBackends(
  context: Context,
  graph: Graph,
  { data, choices, evalSamples, folder }: CompareBackendsOptions,
): Promise<ReportBackend[]> {
  const names = Object.keys(backends) as BackendName[];
  const variants = [
    { dtype: 'fp16' as const },
    ...schemes.flatMap((scheme) => names.map((backend) => ({ dtype: 'int8' as const, scheme, backend }))),
  ];
  const measured = new Map<string, Promise<Pick<ReportBackend, 'top1' | 'bytes'>>>();
  const task = context.progress.task('compare backends', variants.length, 'variants');
  const compared: ReportBackend[] = [];
  try {
    for (const variant of variants) {
      context.signal?.throwIfAborted();
      const numbers = sameNumbers(variant, choices);
      if (!measured.has(numbers)) measured.set(numbers, measure(variant));
      const { top1, bytes } = await measured.get(numbers)!;
      compared.push({ ...variant, top1, bytes });
      task.update(compared.length, { 'top-1': `${(top1 * 100).toFixed(2)} %` });
    }
  } finally {
    task.done();
  }
  return compared;

  async function measure(variant: Variant): Promise<Pick<ReportBackend, 'top1' | 'bytes'>> {
    const { migrate: _, correctBias: __, learnRounding: ___, ...plain } = choices;
    const options = validated(quantizeStage.options, {
      ...(variant.dtype === 'fp16' ? plain : choices),
      ...variant,
      force: true,
    });
    const quiet = { ...context, progress: silent };
    const quantized = await quantizeStage.run({ context: quiet, graph, options, data, folder });
    const file = join(folder, 'compared.onnx');
    try {
      const { bytes } = await exportModelFile(context.engine, quantized.graph, 'onnx', file);
      const { threads, signal } = context;
      const { preprocessing, dataset } = data;
      const measuring = { preprocessing, batchSize: 32, threads, limit: evalSamples, signal };
      const { top1 } = await evaluate(context.engine, file, dataset.val, measuring);
      return { top1, bytes };
    } finally {
      for (const path of [file, `${file}.data`]) rmSync(path, { force: true });
    }
  }
}

type Variant = Pick<ReportBackend, 'dtype' | 'scheme'> & { backend?: BackendName };

/** Variants with the same text are the same numbers. */
function sameNumbers({ dtype, scheme, backend }: Variant, { weights, assumeVnni }: NumberOptions): string {
  if (!backend) return dtype;
  return `${dtype} ${scheme} ${JSON.stringify(numbersOf({ backend, weights, assumeVnni }))}`;
}
