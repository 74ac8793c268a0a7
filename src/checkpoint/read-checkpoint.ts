import { UserError } from '../common/errors.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type ByteSource, readSafetensors } from './safetensors.ts';
import { isTorchFile, readTorchFile } from './torch/read-torch.ts';
import { stateDictOf } from './torch/state-dict.ts';

/** Weights by name, whatever file they came from. */
export interface Weights {
  readonly tensors: Map<string, Tensor>;
  /** Where in the file they were, where it holds more: `model`. */
  readonly entry: string;
}

/** What else bears the names of checkpoints, by how it begins. */
const others: readonly (readonly [start: string, what: string])[] = [
  ['version https://git-lfs', 'a pointer of Git LFS, not the file itself: run "git lfs pull"'],
  ['\x89HDF', 'an HDF5 file, as Keras writes: give weights of PyTorch'],
  ['<!DOCTYPE', 'a web page: the download went wrong'],
  ['<html', 'a web page: the download went wrong'],
  ['\x1f\x8b', 'compressed with gzip: unpack it'],
];

/**
 * Reads a checkpoint by what it is, not by what it is called: safetensors, or what `torch.save` wrote. Tensors
 * are read when they are asked for.
 * @throws UserError naming the file when it is neither, damaged, or holds no weights
 */
export function readCheckpoint(source: ByteSource): Weights {
  const start = new TextDecoder('latin1').decode(source.read(0, Math.min(32, source.size)));
  const other = others.find(([signature]) => start.startsWith(signature));
  if (other) throw new UserError(`${source.path} is ${other[1]}`);
  if (!isTorchFile(source)) return { tensors: readSafetensors(source).tensors, entry: '' };
  try {
    return stateDictOf(readTorchFile(source));
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${source.path}: ${error.message}`);
    throw error;
  }
}
