import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { openSafetensors } from '../checkpoint/safetensors.node.ts';
import { UserError } from '../common/errors.ts';
import { fileError } from '../common/files.node.ts';
import type { Graph } from '../graph/graph.ts';
import { importGraph, isForeign } from '../import/import-graph.ts';
import { loadOnnx } from '../onnx/file.node.ts';
import { modelOfCheckpoint, modelWithWeights } from './checkpoint-model.ts';
import type { LoadOptions } from './load-options.ts';
import type { ModelConfig } from './model.ts';
import { setPreprocessing } from './model-info.ts';
import { nearestNames } from './names.ts';
import { withoutArchitecture } from './read-model.ts';
import { isArchitecture } from './registry.ts';
import { readTimmConfig } from './timm-config.ts';
import './timm-models.node.ts';

const pickles = new Set(['.bin', '.pth', '.pt', '.ckpt', '.tar']);
/** Files that hold a model, or the weights of one. */
export const modelExtensions: ReadonlySet<string> = new Set(['.onnx', '.safetensors', ...pickles]);
/** The stages of a run, the last one first: a run directory stands for its latest model. */
const runStages = ['quantized', 'finetuned', 'pruned', 'dense'];

/**
 * Loads a model: a folder with `model.onnx` (ours; preferred, as it holds what was done to the model),
 * a folder in timm's layout (`config.json` + `model.safetensors`), a run directory (its latest stage),
 * an `.onnx` file, or a `.safetensors` file with `arch`. Weights are read when they are asked for.
 *
 * @param options what it does not say itself: `arch`, `mean`, `std`, `interpolation`, `cropPct`, `cropMode`
 * @throws UserError when there is no such model, it is damaged, or a checkpoint does not fit its architecture
 */
export async function loadModel(reference: string, options: LoadOptions = {}): Promise<Graph> {
  const graph = await readModel(reference, options);
  setPreprocessing(graph, options);
  return graph;
}

async function readModel(reference: string, options: LoadOptions): Promise<Graph> {
  const stat = statSync(reference, { throwIfNoEntry: false });
  if (!stat) throw new UserError(absent(reference));
  const extension = extname(reference).toLowerCase();
  if (options.arch && (stat.isDirectory() || extension === '.onnx')) {
    throw new UserError(`--arch is for a .safetensors file; ${reference} says itself what it is`);
  }
  if (stat.isDirectory()) return loadFolder(reference);
  if (extension === '.onnx') return openOnnx(reference);
  if (extension === '.safetensors') return loadCheckpoint(reference, options.arch);
  if (pickles.has(extension)) throw new UserError(noPickle(reference));
  throw new UserError(
    `${reference} is no model: give a model folder, an .onnx file, or a .safetensors file with its architecture`,
  );
}

const noPickle = (path: string) =>
  `${path}: pickled checkpoints are not supported yet; save the weights as safetensors`;

function absent(reference: string): string {
  if (isArchitecture(reference)) {
    return `${reference} is an architecture, not a model: make a model of it with "pqv init ${reference} -o DIR"`;
  }
  const missing = `${reference}: no such file or folder`;
  const near = nearestNames(basename(reference), entriesOf(dirname(reference)), 1)[0];
  if (near) return `${missing}; did you mean ${join(dirname(reference), near)}?`;
  return hubId.test(reference) && !existsSync(dirname(reference))
    ? `${missing}; if it is a model of the hub, those are not supported yet: download it and give its folder`
    : missing;
}

/** `owner/name`, where the name does not end as a file does. */
const hubId = /^(hf-hub:)?[\w-]+\/(?!.*\.(onnx|ort|ptl?|safetensors|bin|pth|ckpt|tar)$)[\w.-]+$/;

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function loadFolder(folder: string): Graph {
  const has = (name: string) => existsSync(join(folder, name));
  if (has('model.onnx')) return openOnnx(join(folder, 'model.onnx'));
  if (has('config.json')) {
    const config = configOf(join(folder, 'config.json'));
    const weights = join(folder, 'model.safetensors');
    if (has('model.safetensors')) return modelWithWeights(config, openSafetensors(weights).tensors, weights);
    const pickle = ['pytorch_model.bin', 'pytorch_model.pth', 'model.pth'].find(has);
    if (pickle) throw new UserError(noPickle(join(folder, pickle)));
    throw new UserError(`${folder} has a config.json but no model.safetensors`);
  }
  const stage = runStages.find((name) => has(join(name, 'model.onnx')) || has(join(name, 'config.json')));
  if (stage) return loadFolder(join(folder, stage));
  throw new UserError(`${folder} holds no model: neither model.onnx nor config.json with model.safetensors`);
}

/** An `.onnx` file; one that is not ours is brought to our form. */
function openOnnx(path: string): Graph {
  const graph = loadOnnx(path);
  if (isForeign(graph)) importGraph(graph);
  return graph;
}

function configOf(path: string): ModelConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(error, `can't read ${path}`);
  }
  return readTimmConfig(text, path);
}

/** A bare checkpoint. */
function loadCheckpoint(path: string, arch: string | undefined): Graph {
  if (!arch) throw new UserError(withoutArchitecture(path, '--arch'));
  return modelOfCheckpoint(arch, openSafetensors(path).tensors, path);
}
