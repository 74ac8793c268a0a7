import { gradientOpset } from '../autodiff/backward.ts';
import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { numbersOf } from '../quantize/backends.ts';
import { type FakeQuantization, fakeQuantize } from '../quantize/fake.ts';
import { layersToQuantize } from '../quantize/layers.ts';
import { assertFullPrecision } from '../quantize/record.ts';
import { calibratedRanges } from '../quantize/static.ts';
import type { Engine } from '../runtime/session.ts';
import type { Settings } from './finetune-options.ts';

/**
 * The int8 numbers that a training is for; undefined where it is for none. Static ranges are those of the model as it
 * is now, and stay.
 * @throws UserError when the model is quantized already or has nothing to quantize, or static ranges have no images
 */
export async function fakeQuantizationOf(
  engine: Engine,
  model: Graph,
  { qat, scheme, backend, weights, assumeVnni, ignore, observer, calibration }: Settings,
  progress: Progress,
): Promise<FakeQuantization | undefined> {
  if (!qat) return undefined;
  assertFullPrecision(model);
  const { layers } = layersToQuantize(model, { ignore, weights });
  const choice = { backend, weights, assumeVnni, ignore };
  if (scheme === 'dynamic') return choice;
  if (!calibration) throw new UserError('training for static int8 needs images to find ranges on');
  const found = { data: calibration, observer, progress };
  return { ...choice, ranges: await calibratedRanges(engine, model, layers, numbersOf(choice), found) };
}

/** A copy of a model that computes, in float32, what it will in int8. */
export function asInt8(model: Graph, numbers: FakeQuantization): Graph {
  const { graph } = model.clone();
  raiseOpset(graph, gradientOpset);
  fakeQuantize(graph, numbers);
  return graph;
}
