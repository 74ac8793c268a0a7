import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { encodeSafetensors, readSafetensors } from '../checkpoint/safetensors.ts';
import { FileReader, writeFileWhole } from '../common/files.node.ts';
import { parseJson } from '../common/json.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { CheckpointStore, TrainingCheckpoint, TrainingProgress } from './checkpoint.ts';

const record = z.object({ step: z.number(), epoch: z.number(), loss: z.number() });

/** `TrainingProgress`, for files that anything may have happened to. */
const progressSchema: z.ZodType<TrainingProgress> = z.object({
  recipe: z.string(),
  step: z.number().int().min(0),
  epoch: z.number().int().min(0),
  batch: z.number().int().min(0),
  lossSum: z.number(),
  correct: z.number(),
  images: z.number().int().min(0),
  best: z.object({ epoch: z.number(), top1: z.number() }).optional(),
  history: z.object({
    steps: z.array(record.extend({ lr: z.number(), gradNorm: z.number() })),
    epochs: z.array(
      record.omit({ step: true }).extend({ trainTop1: z.number().optional(), top1: z.number().optional() }),
    ),
  }),
});

/** @throws Error when it is damaged, of an older version, or something else */
function checkpointIn(file: FileReader): TrainingCheckpoint {
  const { tensors, metadata } = readSafetensors(file);
  if (!metadata.progress) throw new Error('it is no training checkpoint');
  const progress = progressSchema.safeParse(parseJson(metadata.progress, 'its record of the training'));
  if (!progress.success)
    throw new Error(`its record of the training has no usable ${progress.error.issues[0]?.path.join('.')}`);
  for (const tensor of tensors.values()) tensor.data;
  return { tensors: Object.fromEntries(tensors), progress: progress.data };
}

/**
 * Keeps the last training checkpoint in `checkpoint.safetensors` of a folder: parameters and moments as
 * tensors, the rest as JSON in the file's metadata, so that both change at once. A damaged one counts as none.
 */
export function fileCheckpoints(folder: string, progress: Progress = silent): CheckpointStore {
  const path = join(folder, 'checkpoint.safetensors');
  return {
    async load() {
      if (!existsSync(path)) return undefined;
      const file = new FileReader(path);
      try {
        return checkpointIn(file);
      } catch (error) {
        progress.note(`${path} can't be gone on from (${(error as Error).message}): training starts anew`);
        return undefined;
      } finally {
        file.close();
      }
    },
    async save({ tensors, progress }) {
      writeFileWhole(
        path,
        encodeSafetensors(Object.entries(tensors), { progress: JSON.stringify(progress) }),
      );
    },
  };
}
