import { openDataset } from '../../dataset/open.node.ts';
import { compare } from '../../library/compare.ts';
import type { Agreement } from '../../measure/agreement.ts';
import { modelInfo, preprocessingLine } from '../../zoo/model-info.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/** Differences of two models' outputs, on random inputs or on images. */
export async function compareFiles(
  a: string,
  b: string,
  { data: reference, samples, ...command }: CommandOptions & { data?: string; samples: number },
): Promise<Agreement> {
  const { engine, threads, seed, progress } = localContext(command);
  const first = await openModel(a, command);
  const second = await openModel(b, command);
  const data = reference ? await openDataset(reference, command) : undefined;
  if (data) progress.note(`images: ${preprocessingLine(modelInfo(first))}`);
  return compare(engine, first, second, { data, samples, threads, seed, progress });
}
