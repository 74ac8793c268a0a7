import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { openCheckpoint } from '../../checkpoint/open.node.ts';
import { parseJsonAs } from '../../common/json.ts';
import type { Graph } from '../../graph/graph.ts';
import { type Engine, runOnce } from '../../runtime/session.ts';
import type { FinetuneResult } from '../finetune.ts';
import { asInt8 } from '../quantization-aware.ts';
import { historySchema } from './events.ts';
import { type JobFolder, jobFiles } from './job-folder.node.ts';

/**
 * How far PyTorch's outputs may be from ours for the same weights, relative; as int8 a number between two steps may be
 * rounded to the other, which is a step apart.
 */
const tolerance = { float32: 1e-3, int8: 1e-2 };

const finished = historySchema.extend({ digest: z.string() });

/** Whether a job has been trained to its end. */
export const isFinished = ({ path }: Pick<JobFolder, 'path'>): boolean =>
  existsSync(join(path, jobFiles.result));

/**
 * The model with the weights that a job was trained to, once it gives what it gave where it was trained.
 * @throws UserError when the files are damaged; Error when weights are missing, or the outputs differ
 */
export async function resultOf(engine: Engine, graph: Graph, job: JobFolder): Promise<FinetuneResult> {
  const historyPath = join(job.path, jobFiles.history);
  const { digest, ...history } = parseJsonAs(finished, readFileSync(historyPath, 'utf8'), historyPath);
  if (digest !== job.digest) throw new Error(`${historyPath} is of another job`);
  const { tensors } = openCheckpoint(join(job.path, jobFiles.result));
  const { graph: trained } = graph.clone();
  for (const [name, key] of job.names) {
    const weight = tensors.get(`weights.${key}`);
    const value = trained.constants.get(name);
    if (weight && value) trained.setConstant(value, weight);
  }
  const missing = [...tensors.keys()].filter((key) => key.startsWith('weights.')).length;
  if (missing === 0) throw new Error(`${jobFiles.result} holds no weights`);
  const [input, expected] = [tensors.get('check.input')!, tensors.get('check.output')!];
  const shown = job.int8 ? asInt8(trained, job.int8) : trained;
  const outputs = await runOnce(engine, shown, { [shown.inputs[0]!.name]: input });
  const found = outputs[shown.outputs.find(({ dtype }) => dtype === 'float32')!.name]!;
  let [difference, norm] = [0, 0];
  expected.floats.forEach((value, i) => {
    difference += (found.floats[i]! - value) ** 2;
    norm += value ** 2;
  });
  const relative = Math.sqrt(difference / norm);
  if (!(relative <= tolerance[job.int8 ? 'int8' : 'float32'])) {
    throw new Error(
      `the trained weights give other outputs here than in PyTorch: relative distance ${relative}`,
    );
  }
  return { graph: trained, history };
}
