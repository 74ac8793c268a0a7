import { openDataset } from '../../dataset/open.node.ts';
import { compare } from '../../library/compare.ts';
import type { Agreement } from '../../measure/agreement.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/** Differences of two models' outputs, on random inputs or on images. */
export async function compareFiles(
  a: string,
  b: string,
  { data: reference, samples, ...command }: CommandOptions & { data?: string; samples: number },
): Promise<Agreement> {
  const { engine, threads, seed } = localContext(command);
  const first = await openModel(a);
  const second = await openModel(b);
  const data = reference ? await openDataset(reference) : undefined;
  return compare(engine, first, second, { data, samples, threads, seed });
}
