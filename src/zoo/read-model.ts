import { readCheckpoint } from '../checkpoint/read-checkpoint.ts';
import { inMemory } from '../checkpoint/safetensors.ts';
import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { importGraph, isForeign, quantizedSince } from '../import/import-graph.ts';
import { readOnnx } from '../onnx/read.ts';
import type { ExternalData } from '../onnx/tensor-proto.ts';
import { outOfAppForm } from './app-form.ts';
import { modelOfCheckpoint } from './checkpoint-model.ts';
import { configuredModel } from './configured-model.ts';
import { type FilesBeside, noteForeign } from './foreign-info.ts';

/** The files of a model by their names, as they lie in its folder. */
export type ModelFiles = Readonly<Record<string, Uint8Array>>;

export interface ReadModelOptions {
  /** timm's name, for a checkpoint that comes without a configuration. */
  arch?: string;
  /** Told in one line what was done to a checkpoint or a graph that was not taken as it is. */
  say?: (line: string) => void;
}

/**
 * A model from the bytes of its files: an `.onnx` file (with those that hold its weights, where they are
 * beside it), the `config.json` of timm or of transformers with its weights (`model.safetensors` or `pytorch_model.bin`), or one checkpoint
 * (`.safetensors`, or what `torch.save` wrote) with `arch`. The bytes are kept, and weights are made of them when they are asked for.
 *
 * @example
 * ```js
 * const bytes = new Uint8Array(await (await fetch('model.onnx')).arrayBuffer());
 * const model = readModel({ 'model.onnx': bytes });
 * ```
 * @throws UserError when there is no model among the files, it is damaged, or a checkpoint does not fit its
 *   architecture
 */
export function readModel(files: ModelFiles, { arch, say }: ReadModelOptions = {}): Graph {
  const onnx = 'model.onnx' in files ? 'model.onnx' : only(files, '.onnx');
  const file = (name: string) =>
    name in files ? { text: new TextDecoder().decode(files[name]), path: name } : undefined;
  const beside = { config: file('config.json'), preprocessor: file(preprocessorFile) };
  if (onnx) return readOnnxFile(onnx, files, beside, say);
  const path =
    weightFiles.find((name) => Object.hasOwn(files, name)) ??
    checkpointEndings.map((ending) => only(files, ending)).find((name) => name !== undefined);
  if (!path) {
    throw new UserError(
      `no model among the files (${Object.keys(files).join(', ') || 'there are none'}): give an .onnx file, or config.json with model.safetensors`,
    );
  }
  const weights = { ...readCheckpoint(inMemory(files[path]!, path)), where: path };
  const { config, preprocessor } = beside;
  if (config && !arch) return configuredModel(config, preprocessor, weights, { say });
  if (!arch) throw new UserError(withoutArchitecture(path, 'the option arch'));
  return modelOfCheckpoint(arch, weights, { say });
}

/** How images are prepared for a model of transformers. */
export const preprocessorFile = 'preprocessor_config.json';

/** Names of the weights in a model folder, the safer form first. */
export const weightFiles = [
  'model.safetensors',
  'pytorch_model.bin',
  'pytorch_model.pth',
  'model.pth',
] as const;

/** How files of weights end, the safer form first. */
export const checkpointEndings = ['.safetensors', '.bin', '.pth', '.pt', '.ckpt', '.tar'] as const;

/** What is wrong with weights alone. @param option how the architecture is given */
export const withoutArchitecture = (path: string, option: string): string =>
  `${path} holds weights only: say which architecture they are of, with ${option}, such as deit_base_patch16_224`;

/** The one file with that ending, if there is one. @throws UserError when there are several */
function only(files: ModelFiles, ending: string): string | undefined {
  const found = Object.keys(files).filter((name) => name.toLowerCase().endsWith(ending));
  if (found.length > 1) throw new UserError(`which of ${found.join(', ')} is the model? Give one`);
  return found[0];
}

function readOnnxFile(
  name: string,
  files: ModelFiles,
  beside: FilesBeside,
  say: (line: string) => void = () => {},
): Graph {
  const external: ExternalData = (location, offset, length) => {
    const bytes = files[location];
    if (!bytes) throw new UserError(`its weights are in ${location}, which was not given`);
    const end = length === undefined ? bytes.length : offset + length;
    if (!(offset >= 0 && end <= bytes.length && offset <= end)) {
      throw new UserError(`${location} has ${bytes.length} bytes; the model wants ${offset} to ${end}`);
    }
    return () => bytes.subarray(offset, end);
  };
  try {
    const graph = readOnnx(files[name]!, external);
    if (isForeign(graph)) {
      for (const line of importGraph(graph)) say(line);
      noteForeign(graph, beside, say);
    } else {
      outOfAppForm(graph);
      for (const line of quantizedSince(graph)) say(line);
    }
    return graph;
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${name}: ${error.message}`);
    throw error;
  }
}
