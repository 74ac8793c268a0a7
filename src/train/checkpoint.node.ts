import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { encodeSafetensors, readSafetensors } from '../checkpoint/safetensors.ts';
import { UserError } from '../common/errors.ts';
import { FileReader, writeFileWhole } from '../common/files.node.ts';
import type { CheckpointStore, TrainingProgress } from './checkpoint.ts';

/**
 * Keeps the last training checkpoint in `checkpoint.safetensors` of a folder: parameters and moments as
 * tensors, the rest as JSON in the file's metadata, so that both change at once.
 */
export function fileCheckpoints(folder: string): CheckpointStore {
  const path = join(folder, 'checkpoint.safetensors');
  return {
    async load() {
      if (!existsSync(path)) return undefined;
      const file = new FileReader(path);
      try {
        const { tensors, metadata } = readSafetensors(file);
        if (!metadata.progress) throw new UserError(`${path} is no training checkpoint`);
        for (const tensor of tensors.values()) tensor.data;
        return {
          tensors: Object.fromEntries(tensors),
          progress: JSON.parse(metadata.progress) as TrainingProgress,
        };
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
