import { validated } from '../../common/options.ts';
import { sensitivity, sensitivityOptions } from '../../library/sensitivity.ts';
import type { Sensitivity } from '../../measure/sensitivity.ts';
import { localContext, openModelData } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/** Ranks the layers of a model by what int8 in each does. @param input options of the pass */
export async function rankLayers(
  reference: string,
  input: unknown,
  command: CommandOptions & { data?: string },
): Promise<Sensitivity> {
  const options = validated(sensitivityOptions, input);
  const { engine, threads, seed, progress, signal } = localContext(command);
  const graph = await openModel(reference, command);
  const data = command.data ? await openModelData(graph, command.data, progress, command) : undefined;
  const surroundings = { threads, seed, progress, signal };
  return sensitivity(engine, graph, { ...options, data: data?.dataset, ...surroundings });
}
