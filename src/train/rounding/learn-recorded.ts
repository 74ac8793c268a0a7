import { UserError } from '../../common/errors.ts';
import type { Progress } from '../../common/progress.ts';
import type { Graph } from '../../graph/graph.ts';
import type { CalibrationData } from '../../quantize/calibrate.ts';
import { inputsFrom } from '../../quantize/quantize.ts';
import { quantization, recordQuantization } from '../../quantize/record.ts';
import type { Engine, Tensors } from '../../runtime/session.ts';
import { learnRounding } from './learn-rounding.ts';

/**
 * The first batches of some images, as many as make up a number of them, as the model's inputs.
 * @throws UserError when there are none
 */
export async function heldBatches(
  model: Graph,
  images: CalibrationData,
  samples: number,
): Promise<Tensors[]> {
  const held: Tensors[] = [];
  let count = 0;
  for await (const feeds of inputsFrom(model, images)) {
    if (count >= samples) break;
    held.push(feeds);
    count += imagesIn(feeds);
  }
  if (held.length === 0) throw new UserError('learn-rounding needs images, and there are none');
  return held;
}

const imagesIn = (feeds: Tensors): number => Object.values(feeds)[0]?.shape[0] ?? 0;

/** `learnRounding`, and what it did in the quantized model's record. */
export async function learnRecorded(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  batches: readonly Tensors[],
  options: { steps: number; progress: Progress },
): Promise<void> {
  const layers = await learnRounding(engine, source, quantized, batches, options);
  const mean = (of: 'before' | 'after') =>
    Number((layers.reduce((sum, layer) => sum + layer[of], 0) / (layers.length || 1)).toPrecision(4));
  const learntRounding = {
    images: batches.reduce((sum, feeds) => sum + imagesIn(feeds), 0),
    steps: options.steps,
    layers: layers.length,
    before: mean('before'),
    after: mean('after'),
  };
  recordQuantization(quantized, { ...quantization(quantized)!, learntRounding });
}
