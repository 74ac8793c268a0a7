import { FileReader, writeFileWhole } from '../common/files.node.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type Checkpoint, encodeSafetensors, readSafetensors } from './safetensors.ts';

/**
 * Opens a `.safetensors` file; tensors are read from it when they are asked for, so it stays open.
 * @throws UserError when it is missing, cut short, or contradicts itself
 */
export function openSafetensors(path: string): Checkpoint {
  const file = new FileReader(path);
  try {
    return readSafetensors(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Writes a `.safetensors` file, whole or not at all, one tensor in memory at a time where they are lazy. */
export function saveSafetensors(path: string, tensors: Iterable<readonly [string, Tensor]>): void {
  writeFileWhole(path, encodeSafetensors(tensors));
}
