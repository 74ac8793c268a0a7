import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FileReader, fileError, refuseDevices } from '../common/files.node.ts';
import { readCheckpoint, type Weights } from './read-checkpoint.ts';
import { fromShards, readShardIndex } from './shards.ts';

/** The end of the name of a file that lists weights in several files. */
export const indexEnding = '.index.json';

/**
 * Opens weights: a `.safetensors` file, one of `torch.save`, or the index of several (`*.index.json`). Tensors are
 * read when they are asked for, so the files stay open.
 * @throws UserError when a file is missing, damaged, or holds no weights
 */
export function openCheckpoint(path: string): Weights {
  if (!path.endsWith(indexEnding)) return openFile(path);
  const index = readShardIndex(readText(path), path);
  const tensors = fromShards(index, (file) => openFile(join(dirname(path), file)).tensors);
  return { tensors, entry: '' };
}

function openFile(path: string): Weights {
  const file = new FileReader(path);
  try {
    return readCheckpoint(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The text of a file. @throws UserError when it can't be read */
export function readText(path: string): string {
  try {
    refuseDevices(path);
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(error, `can't read ${path}`);
  }
}
