import { UserError } from '../../common/errors.ts';
import { batches } from '../../dataset/loader.ts';
import { openDataset } from '../../dataset/open.node.ts';
import type { Graph } from '../../graph/graph.ts';
import { type Agreement, compareModels, randomInputs } from '../../measure/agreement.ts';
import type { Engine } from '../../runtime/session.ts';
import { modelInfo } from '../../zoo/model-info.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/** Inputs at a time. */
const batchSize = 16;

/** Differences of two models' outputs, on random inputs or on images. */
export async function compareFiles(
  a: string,
  b: string,
  options: CommandOptions & { data?: string; samples: number },
): Promise<Agreement> {
  const { engine, threads, seed } = localContext(options);
  const first = await openModel(a);
  const second = await openModel(b);
  const inputs = options.data
    ? await imageInputs(engine, first, options.data, options.samples)
    : randomInputs(inputShape(first), { images: options.samples, batchSize, seed });
  return compareModels(engine, first, second, inputs, { threads });
}

async function* imageInputs(engine: Engine, graph: Graph, reference: string, limit: number) {
  const { preprocessing } = modelInfo(graph);
  const dataset = await openDataset(reference);
  const loader = batches(dataset.val, preprocessing, { engine, batchSize, limit });
  for await (const { pixels } of loader) yield pixels;
}

function inputShape(graph: Graph): [number, number, number] {
  const shape = graph.inputs[0]?.shape?.slice(1) ?? [];
  if (shape.length !== 3 || shape.some((dim) => typeof dim !== 'number')) {
    throw new UserError(`the model's input has no fixed shape: [${graph.inputs[0]?.shape}]`);
  }
  return shape as [number, number, number];
}
