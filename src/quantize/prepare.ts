import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import { noiseFor } from '../runtime/noise.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { correctBias } from './bias-correction.ts';
import type { CalibrationData } from './calibrate.ts';
import { type MigrationGrid, migrateScales } from './migrate.ts';
import { inputsFrom } from './quantize.ts';
import { assertFullPrecision, quantization, recordQuantization } from './record.ts';

export interface Preparations {
  /** Scale large channels of norms into the weights that read them. */
  migrate: boolean;
  /** Take from the biases what outputs are off on the average. */
  correctBias: boolean;
  /** What it will be rounded to; default int8. */
  grid?: MigrationGrid;
}

/** Images of noise, where there are no others. */
const noiseImages = 4;

/**
 * What is done to a float32 model before it is quantized, and to the quantized one afterwards.
 * @param images passed over once for each; left out: noise
 * @returns the float32 model that is to be quantized, and what to call with what comes out (in place)
 * @throws UserError when the model is quantized already
 */
export async function prepare(
  engine: Engine,
  source: Graph,
  asked: Preparations,
  images: CalibrationData | undefined,
  progress: Progress,
): Promise<{ graph: Graph; finish(quantized: Graph): Promise<void> }> {
  if (!asked.migrate && !asked.correctBias) return { graph: source, finish: async () => {} };
  assertFullPrecision(source);
  if (!images) progress.note('the sizes of channels are those on noise: images (--data) say more');
  const inputs = () => (images ? inputsFrom(source, images) : noise(source));
  const { graph, migrated } = asked.migrate
    ? await migrateScales(engine, source, inputs(), asked.grid)
    : { graph: source, migrated: undefined };
  return {
    graph,
    async finish(quantized) {
      if (asked.correctBias) await correctBias(engine, graph, quantized, inputs());
      const biasCorrected = asked.correctBias || undefined;
      recordQuantization(quantized, { ...quantization(quantized)!, migrated, biasCorrected });
    },
  };
}

/** Noise for every input; none where there is none for one of them. */
function noise(graph: Graph): Tensors[] {
  const feeds: Tensors = {};
  for (const input of graph.inputs) {
    if (input.isConstant) continue;
    const tensor = noiseFor(input, noiseImages, 20);
    if (tensor?.dtype !== input.dtype) return [];
    feeds[input.name] = tensor!;
  }
  return [feeds];
}
