import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { type ReadModelOptions, readModel } from './read-model.ts';

/**
 * Where a browser has a model from: the address of an `.onnx` or `.safetensors` file, or of a folder (it ends
 * in `/`); what the user chose (a file, or all files of a folder); or bytes of an `.onnx` file.
 */
export type WebModelSource = string | URL | Blob | Uint8Array | readonly File[];

export interface WebLoadOptions extends ReadModelOptions {
  /** Stops a download. */
  signal?: AbortSignal;
}

/** The files a folder may consist of, those that stand for the whole model first. */
const folderFiles = [['model.onnx'], ['config.json', 'model.safetensors']];

/**
 * Loads a model in a browser.
 *
 * @example
 * ```js
 * const model = await loadModel('https://example.org/vit/model.onnx');
 * const chosen = await loadModel(document.querySelector('input[type=file]').files[0]);
 * ```
 * @throws UserError when a file can't be had, and as `readModel`
 */
export async function loadModel(source: WebModelSource, options: WebLoadOptions = {}): Promise<Graph> {
  if (source instanceof Uint8Array) return readModel({ 'model.onnx': source }, options);
  if (source instanceof Blob) return readModel({ [nameOf(source)]: await bytesOf(source) }, options);
  if (Array.isArray(source)) {
    const files = await Promise.all(
      source.map(async (file: File) => [file.name, await bytesOf(file)] as const),
    );
    return readModel(Object.fromEntries(files), options);
  }
  const address = String(source);
  if (!address.endsWith('/')) {
    const name = address.split(/[?#]/)[0]!.split('/').at(-1)!;
    return readModel({ [name]: await download(address, options) }, options);
  }
  let missing: unknown;
  for (const names of folderFiles) {
    try {
      const files = names.map(async (name) => [name, await download(`${address}${name}`, options)] as const);
      return readModel(Object.fromEntries(await Promise.all(files)), options);
    } catch (error) {
      if (!(error instanceof NotFound)) throw error;
      missing ??= error;
    }
  }
  throw missing;
}

/** A file that is not there. */
class NotFound extends UserError {}

const nameOf = (blob: Blob): string => ('name' in blob ? (blob as File).name : 'model.onnx');

const bytesOf = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer());

async function download(address: string, { signal }: WebLoadOptions): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(address, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw new UserError(`can't download ${address}: ${(error as Error).message}`);
  }
  if (response.status === 404) throw new NotFound(`${address}: there is no such file`);
  if (!response.ok) throw new UserError(`can't download ${address}: the server says ${response.status}`);
  return bytesOf(await response.blob());
}
