import { realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { UserError } from '../common/errors.ts';
import { FileReader, fileError, writeFilesWhole } from '../common/files.node.ts';
import { quoted } from '../common/quoted.ts';
import type { Graph } from '../graph/graph.ts';
import { readOnnx } from './read.ts';
import { type EncodedModel, encodeOnnx, externalAbove, weightBytes } from './write.ts';

/**
 * Loads an `.onnx` file; weights in external files are read when they are asked for.
 * @throws UserError when the file is missing, no ONNX model, or points outside its folder
 */
export function loadOnnx(path: string): Graph {
  const file = new FileReader(path);
  const bytes = file.read(0, file.size);
  file.close();
  const readers = new Map<string, FileReader>();
  try {
    return readOnnx(bytes, (location, offset, length) => {
      const relative = normalize(location);
      const reader = readers.get(relative) ?? new FileReader(externalFile(path, location));
      readers.set(relative, reader);
      const wanted = length ?? reader.size - offset;
      const whole = [offset, wanted].every((place) => Number.isSafeInteger(place) && place >= 0);
      if (!(whole && offset + wanted <= reader.size)) {
        throw new UserError(
          `${reader.path} has ${reader.size} bytes; the model wants ${offset} to ${offset + wanted}`,
        );
      }
      return () => reader.read(offset, wanted);
    });
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${path}: ${error.message}`, path);
    throw error;
  }
}

/**
 * The file in which a model keeps weights: one in its folder, or where links are how the folder is kept (the cache of
 * the Hub) one that lies beside the model itself.
 * @throws UserError on any other
 */
function externalFile(model: string, location: string): string {
  const relative = normalize(location);
  const leaves = () => new UserError(`external data location ${quoted(location)} leaves the model's folder`);
  if (location.includes('\0') || isAbsolute(relative) || relative.startsWith('..')) throw leaves();
  const file = join(dirname(model), relative);
  try {
    const real = realpathSync(file);
    const inside = real.startsWith(join(realpathSync(dirname(model)), sep));
    if (!inside && dirname(real) !== dirname(realpathSync(model))) throw leaves();
  } catch (error) {
    throw fileError(error, `can't read ${file}`);
  }
  return file;
}

/** Writes an `.onnx` file, above 1 GiB with its weights beside it in `NAME.data`. Whole or not at all. */
export function saveOnnx(graph: Graph, path: string): void {
  writeFilesWhole(onnxFiles(graph, path));
}

/** The files of `saveOnnx`, encoded when they are written. */
export function onnxFiles(graph: Graph, path: string): [path: string, content: Iterable<Uint8Array>][] {
  const external = weightBytes(graph) > externalAbove ? `${basename(path)}.data` : undefined;
  let encoded: EncodedModel | undefined;
  function* part(name: keyof EncodedModel) {
    encoded ??= encodeOnnx(graph, external);
    yield* encoded[name]!;
  }
  const model: [string, Iterable<Uint8Array>] = [path, part('model')];
  return external ? [[join(dirname(path), external), part('weights')], model] : [model];
}
