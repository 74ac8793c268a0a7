import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { indexEnding, openCheckpoint, readText } from '../checkpoint/open.node.ts';
import { UserError } from '../common/errors.ts';
import { nearestNames } from '../common/near-names.ts';
import type { Graph } from '../graph/graph.ts';
import { importGraph, isForeign, quantizedSince } from '../import/import-graph.ts';
import { loadOnnx } from '../onnx/file.node.ts';
import { outOfAppForm } from './app-form.ts';
import { type CheckpointOptions, modelOfCheckpoint } from './checkpoint-model.ts';
import { configuredModel } from './configured-model.ts';
import { noteForeign } from './foreign-info.ts';
import { hubFolder, hubModel, namesHub } from './hub-models.node.ts';
import { type ModelReading, parsedInputSize } from './load-options.ts';
import { setPreprocessing } from './model-info.ts';
import { checkpointEndings, preprocessorFile, weightFiles, withoutArchitecture } from './read-model.ts';
import { isArchitecture } from './registry.ts';
import type { ConfigFile } from './transformers/model.ts';
import './timm-models.node.ts';

/** Files that hold a model, or the weights of one. */
export const modelExtensions: ReadonlySet<string> = new Set(['.onnx', ...checkpointEndings]);
/** The stages of a run, the last one first: a run directory stands for its latest model. */
const runStages = ['quantized', 'finetuned', 'pruned', 'dense'];

/**
 * Loads a model: a folder with `model.onnx` (ours; preferred, as it holds what was done to the model), one of timm's or
 * transformers' (`config.json` + weights), a run directory (its latest stage), an `.onnx` file, a checkpoint file with
 * `arch` (safetensors or what `torch.save` wrote, in one file or several with an index), or what is on the Hugging Face
 * Hub (`timm/deit_base_patch16_224.fb_in1k`, `facebook/dinov2-small`, a name of timm's). Weights are read when they are
 * asked for.
 *
 * @param options what it does not say itself: `arch`, `mean`, `std`, `interpolation`, `cropPct`, `cropMode`
 * @throws UserError when there is no such model, it is damaged, or a checkpoint does not fit its architecture
 */
export async function loadModel(reference: string, options: ModelReading = {}): Promise<Graph> {
  const graph = await readModel(reference, options);
  setPreprocessing(graph, options);
  return graph;
}

async function readModel(reference: string, options: ModelReading): Promise<Graph> {
  const stat = statSync(reference, { throwIfNoEntry: false });
  if (!stat || namesHub(reference)) return fromHub(reference, options);
  const extension = extname(reference).toLowerCase();
  if (options.arch && (stat.isDirectory() || extension === '.onnx')) {
    throw new UserError(`--arch is for a checkpoint file; ${reference} says itself what it is`);
  }
  if (stat.isDirectory()) return loadFolder(reference, options);
  if (extension === '.onnx') return openOnnx(reference, options);
  if (modelExtensions.has(extension) || reference.endsWith(indexEnding)) {
    return loadCheckpoint(reference, options);
  }
  throw new UserError(
    `${reference} is no model: give a model folder, an .onnx file, or a checkpoint file with its architecture`,
  );
}

/** A model that is not on the disk, where its name may be one of the Hub. */
async function fromHub(reference: string, options: ModelReading): Promise<Graph> {
  if (options.arch) throw new UserError(`--arch is for a checkpoint file; ${reference} is none`);
  const near = namesHub(reference)
    ? undefined
    : nearestNames(basename(reference), entriesOf(dirname(reference)), 1)[0];
  const onDisk = reference.includes('/') && existsSync(dirname(reference)) && !namesHub(reference);
  if (!onDisk && !(near && !isArchitecture(reference))) {
    const model = hubModel(reference);
    if (model) return loadFolder(await hubFolder(model, options), options);
  }
  if (isArchitecture(reference)) {
    throw new UserError(
      `${reference} is an architecture without pretrained weights: make a model of it with "pqv init ${reference} -o DIR"`,
    );
  }
  const hint = near ? `; did you mean ${join(dirname(reference), near)}?` : '';
  throw new UserError(`${reference}: no such file or folder${hint}`);
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The weights of a model folder, the first of them that is there. */
const folderWeights = weightFiles.flatMap((name) => [name, `${name}${indexEnding}`]);

function loadFolder(folder: string, options: ModelReading): Graph {
  const has = (name: string) => existsSync(join(folder, name));
  if (has('model.onnx')) return openOnnx(join(folder, 'model.onnx'), options);
  if (has('config.json')) {
    const file = (name: string) => ({ text: readText(join(folder, name)), path: join(folder, name) });
    const name = folderWeights.find(has);
    if (!name) throw new UserError(`${folder} has a config.json but no ${weightFiles.join(' or ')}`);
    const preprocessor = has(preprocessorFile) ? file(preprocessorFile) : undefined;
    const weights = weightsOf(join(folder, name));
    return configuredModel(file('config.json'), preprocessor, weights, checkpointOptions(options));
  }
  const stage = runStages.find((name) => has(join(name, 'model.onnx')) || has(join(name, 'config.json')));
  if (stage) return loadFolder(join(folder, stage), options);
  throw new UserError(`${folder} holds no model: neither model.onnx nor config.json with model.safetensors`);
}

/** An `.onnx` file; one that is not ours is brought to our form. */
function openOnnx(path: string, { inputSize, progress }: ModelReading): Graph {
  const graph = loadOnnx(path);
  const open = graph.inputs[0]?.shape?.slice(1).some((length) => typeof length !== 'number');
  if (inputSize && !(open && isForeign(graph))) {
    throw new UserError(
      `--input-size is for checkpoints and graphs of no fixed size; ${path} is a graph for images of one size already`,
    );
  }
  if (!isForeign(graph)) {
    outOfAppForm(graph);
    for (const line of quantizedSince(graph)) progress?.note(line);
    return graph;
  }
  for (const line of importGraph(graph, { inputSize: parsedInputSize(inputSize) })) progress?.note(line);
  const files = { config: beside(path, 'config.json'), preprocessor: beside(path, preprocessorFile) };
  noteForeign(graph, files, (line) => progress?.note(line));
  return graph;
}

/** A file in the folder of a model, or where that is one of exports (`onnx/model.onnx`) in the folder above. */
function beside(model: string, name: string): ConfigFile | undefined {
  const folders = [
    dirname(model),
    ...(basename(dirname(resolve(model))) === 'onnx' ? [join(dirname(model), '..')] : []),
  ];
  const path = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  return path === undefined ? undefined : { text: readText(path), path };
}

const weightsOf = (path: string) => ({ ...openCheckpoint(path), where: path });

const checkpointOptions = ({ inputSize, progress }: ModelReading): CheckpointOptions => ({
  inputSize: parsedInputSize(inputSize),
  say: (line) => progress?.note(line),
});

/** A bare checkpoint. */
function loadCheckpoint(path: string, options: ModelReading): Graph {
  if (!options.arch) throw new UserError(withoutArchitecture(path, '--arch'));
  return modelOfCheckpoint(options.arch, weightsOf(path), checkpointOptions(options));
}
