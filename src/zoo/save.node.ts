import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { encodeSafetensors } from '../checkpoint/safetensors.ts';
import { UserError } from '../common/errors.ts';
import { type Content, writeFilesWhole } from '../common/files.node.ts';
import { removeLeftovers } from '../common/leftovers.node.ts';
import type { Graph } from '../graph/graph.ts';
import { onnxFiles } from '../onnx/file.node.ts';
import { inferModelArgs } from './infer-arguments.ts';
import type { ModelArgs } from './model-args.ts';
import { architectureOf } from './model-family.ts';
import { modelInfo } from './model-info.ts';
import { timmState } from './timm-state.ts';
import './timm-models.node.ts';
import type { Architecture } from './registry.ts';
import { writeTimmConfig } from './timm-config.ts';

/** The files of a model folder. */
export const modelFiles = {
  onnx: 'model.onnx',
  weights: 'model.safetensors',
  config: 'config.json',
} as const;

/**
 * Writes a model folder: `model.onnx`, and where timm can build the model also `model.safetensors` and
 * `config.json`. They appear together or not at all; what the folder held of another model is removed.
 * @returns the names of the files
 * @throws UserError when the folder can't be written, or what would be removed is no model of ours
 */
export function saveModel(graph: Graph, folder: string): string[] {
  const args = inferModelArgs(graph);
  const timms = [modelFiles.weights, modelFiles.config];
  const foreign = timms.find((name) => existsSync(join(folder, name)));
  if (foreign && !args && !existsSync(join(folder, modelFiles.onnx))) {
    throw new UserError(
      `${folder} holds another model (${foreign}), which would be lost: write to another folder`,
    );
  }
  removeLeftovers(folder);
  writeFilesWhole([
    ...(args ? timmFiles(graph, args, folder) : []),
    ...onnxFiles(graph, join(folder, modelFiles.onnx)),
  ]);
  if (!args) for (const name of timms) rmSync(join(folder, name), { force: true });
  return [modelFiles.onnx, ...(args ? timms : [])];
}

/**
 * Writes a folder in timm's layout, without `model.onnx`: what `timm.create_model('local-dir:FOLDER')` loads.
 * @returns the names of the files
 * @throws UserError when no arguments of timm's constructor give this model, or the folder can't be written
 */
export function saveTimm(graph: Graph, folder: string): string[] {
  const args = inferModelArgs(graph);
  if (!args) throw new UserError('timm has no arguments for a model of these shapes; save it as ONNX');
  writeFilesWhole(timmFiles(graph, args, folder));
  rmSync(join(folder, modelFiles.onnx), { force: true });
  return [modelFiles.weights, modelFiles.config];
}

function timmFiles(graph: Graph, args: ModelArgs, folder: string): [path: string, content: Content][] {
  const architecture = architectureOf(graph)!;
  const config = writeTimmConfig(architecture, modelInfo(graph), args, featuresOf(graph, architecture));
  return [
    [join(folder, modelFiles.weights), encodeSafetensors(timmState(graph))],
    [join(folder, modelFiles.config), config],
  ];
}

/** Channels that the classifier reads; without one, those of the output. */
function featuresOf(graph: Graph, { classifier }: Architecture): number {
  const weight = graph.constants.get(`${classifier[0]}.weight`)?.staticShape;
  return weight ? weight[1]! : (graph.outputs[0]!.shape!.at(-1) as number);
}
