import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { toTimmLayout } from './checkpoint-layout.ts';
import { buildModel, type ModelConfig } from './model.ts';
import { checkpointParameters } from './parameter-source.ts';
import { findArchitecture } from './registry.ts';

/**
 * A configured architecture with the weights of a checkpoint, in timm's layout or one that its family knows.
 * @param where the checkpoint's name in errors
 * @throws UserError when the checkpoint does not fit the architecture
 */
export function modelWithWeights(
  config: ModelConfig,
  tensors: ReadonlyMap<string, Tensor>,
  where: string,
): Graph {
  const { family } = findArchitecture(config.architecture);
  return build(config, toTimmLayout(family.layouts ?? [], tensors), where);
}

/**
 * A checkpoint that comes without a configuration: the architecture is told, the numbers of classes and
 * channels are those of its tensors.
 * @throws UserError as `modelWithWeights`
 */
export function modelOfCheckpoint(arch: string, tensors: ReadonlyMap<string, Tensor>, where: string): Graph {
  const { name, family, classifier, firstConv, preprocessing } = findArchitecture(arch);
  const state = toTimmLayout(family.layouts ?? [], tensors);
  const shapeOf = (module: string) => state.get(`${module}.weight`)?.shape;
  const numClasses = shapeOf(classifier[0]!)?.[0] ?? 0;
  const channels = shapeOf(firstConv[0]!)?.[1] ?? preprocessing.inputSize[0];
  const modelArgs = channels === preprocessing.inputSize[0] ? undefined : { in_chans: channels };
  return build({ architecture: name, numClasses, modelArgs }, state, where);
}

function build(config: ModelConfig, state: ReadonlyMap<string, Tensor>, where: string): Graph {
  const { source, finish } = checkpointParameters(state, where);
  const graph = buildModel(config, source);
  finish();
  return graph;
}
