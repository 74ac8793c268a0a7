import { UserError } from '../common/errors.ts';
import { parseJson } from '../common/json.ts';
import { quoted } from '../common/quoted.ts';
import type { Tensor } from '../graph/tensor.ts';

/** Files that one index may name. */
const shardLimit = 1000;

/**
 * The index of weights in several files (`model.safetensors.index.json`): tensor name -> file name.
 * @param path the file's name in errors
 * @throws UserError when it is no such index, or names a file that is not beside it
 */
export function readShardIndex(text: string, path: string): Map<string, string> {
  const parsed = parseJson(text, path);
  const table = (parsed as { weight_map?: unknown } | null)?.weight_map;
  if (typeof table !== 'object' || table === null || Array.isArray(table)) {
    throw new UserError(`${path} has no weight_map`);
  }
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(table)) {
    if (typeof file !== 'string' || !/^[\w][\w.-]*$/.test(file)) {
      throw new UserError(
        `${path}: tensor ${quoted(name)} is in ${quoted(file)}, which is no file beside it`,
      );
    }
    files.set(name, file);
  }
  const count = new Set(files.values()).size;
  if (count > shardLimit) throw new UserError(`${path} names ${count} files; ${shardLimit} are read at most`);
  return files;
}

/**
 * The tensors of an index, each from its file.
 * @param open reads one of the files; asked for each once
 * @throws UserError when a file lacks one of its tensors, and as `open` does
 */
export function fromShards(
  index: ReadonlyMap<string, string>,
  open: (file: string) => ReadonlyMap<string, Tensor>,
): Map<string, Tensor> {
  const opened = new Map<string, ReadonlyMap<string, Tensor>>();
  const tensors = new Map<string, Tensor>();
  for (const [name, file] of index) {
    const shard = opened.get(file) ?? open(file);
    opened.set(file, shard);
    const tensor = shard.get(name);
    if (!tensor) throw new UserError(`${file} lacks tensor ${quoted(name)}, which the index says it has`);
    tensors.set(name, tensor);
  }
  return tensors;
}
