import { type Accuracy, evaluate } from '../../measure/accuracy.ts';
import { assertClassifier, localContext, openModelData } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/** Accuracy on the held-out images. */
export async function evaluateModel(
  reference: string,
  options: CommandOptions & { data: string; batchSize: number; samples?: number },
): Promise<Accuracy> {
  const { engine, progress, threads } = localContext(options);
  const graph = await openModel(reference, options);
  assertClassifier(graph);
  const { dataset, preprocessing } = await openModelData(graph, options.data, progress, options);
  const { batchSize, samples: limit } = options;
  return evaluate(engine, graph, dataset.val, { preprocessing, batchSize, threads, progress, limit });
}
