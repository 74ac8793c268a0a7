import { UserError } from '../common/errors.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { toTimmLayout } from './checkpoint-layout.ts';
import { CheckpointNotes } from './checkpoint-notes.ts';
import { unwrapped } from './checkpoint-prefix.ts';
import { buildModel, type ModelConfig } from './model.ts';
import type { ModelArgs } from './model-args.ts';
import { checkpointParameters } from './parameter-source.ts';
import { type Architecture, findArchitecture } from './registry.ts';
import type { ResampleStyle } from './resample-positions.ts';

/** Weights on their way into a model. */
export interface CheckpointWeights {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Where in their file they were, where it holds more: `model`. */
  readonly entry?: string;
  /** The checkpoint's name, in errors and news. */
  readonly where: string;
}

export interface CheckpointOptions {
  /** `[C, H, W]` of the model, where it is not the configuration's: positions are resampled. */
  readonly inputSize?: Preprocessing['inputSize'] | undefined;
  /** Whose resampling of positions; default timm's. */
  readonly style?: ResampleStyle | undefined;
  /** Told in one line what was done to the checkpoint, where it was not taken as it is. */
  readonly say?: ((line: string) => void) | undefined;
}

/**
 * A configured architecture with the weights of a checkpoint, in timm's layout or one that its family knows.
 * @throws UserError when the checkpoint does not fit the architecture
 */
export function modelWithWeights(
  config: ModelConfig,
  weights: CheckpointWeights,
  options: CheckpointOptions = {},
): Graph {
  const architecture = findArchitecture(config.architecture);
  return build(architecture, () => config, weights, options);
}

/**
 * A checkpoint that comes without a configuration: the architecture is told, the numbers of classes and
 * channels are those of its tensors.
 * @throws UserError as `modelWithWeights`
 */
export function modelOfCheckpoint(
  arch: string,
  weights: CheckpointWeights,
  options: CheckpointOptions = {},
): Graph {
  const architecture = findArchitecture(arch);
  const { name, classifier, firstConv, preprocessing } = architecture;
  const config = (state: ReadonlyMap<string, Tensor>): ModelConfig => {
    const shapeOf = (module: string) => state.get(`${module}.weight`)?.shape;
    const numClasses = shapeOf(classifier[0]!)?.[0] ?? 0;
    const channels = shapeOf(firstConv[0]!)?.[1] ?? preprocessing.inputSize[0];
    const modelArgs = channels === preprocessing.inputSize[0] ? undefined : { in_chans: channels };
    return { architecture: name, numClasses, modelArgs };
  };
  return build(architecture, config, weights, options);
}

function build(
  architecture: Architecture,
  configOf: (state: ReadonlyMap<string, Tensor>) => ModelConfig,
  weights: CheckpointWeights,
  options: CheckpointOptions,
): Graph {
  const { tensors, notes } = opened(weights, architecture.firstConv);
  const state = toTimmLayout(architecture.family.layouts ?? [], tensors, notes);
  return assembled(architecture, configOf(state), state, notes, options);
}

/**
 * Weights without what people keep them in, and notes that say so.
 * @param known modules of the model, in front of which nothing stands
 */
export function opened(
  { tensors, entry, where }: CheckpointWeights,
  known: readonly string[],
): { tensors: ReadonlyMap<string, Tensor>; notes: CheckpointNotes } {
  const notes = new CheckpointNotes(where);
  if (entry) notes.add(`weights from its entry "${entry}"`);
  const { tensors: own, prefix, beside } = unwrapped(tensors, known);
  if (prefix) notes.add(`prefix "${prefix}" dropped`);
  notes.leftOver(beside);
  return { tensors: own, notes };
}

/**
 * A configured architecture with a state dict under timm's names; what the notes have is said.
 * @throws UserError as `modelWithWeights`
 */
export function assembled(
  architecture: Architecture,
  config: ModelConfig,
  state: ReadonlyMap<string, Tensor>,
  notes: CheckpointNotes,
  { inputSize, say, style }: CheckpointOptions,
): Graph {
  const { source, finish } = checkpointParameters(state, notes, style);
  const graph = buildModel(inputSize ? atSize(config, architecture, inputSize) : config, source);
  finish();
  const line = notes.line();
  if (line) say?.(line);
  return graph;
}

/** The configuration for images of another size. */
function atSize(
  config: ModelConfig,
  { name, family, preprocessing: own }: Architecture,
  inputSize: Preprocessing['inputSize'],
): ModelConfig {
  const { modelArgs, preprocessing = own } = config;
  const channels = modelArgs?.in_chans ?? preprocessing.inputSize[0];
  if (channels !== inputSize[0]) {
    throw new UserError(`${name} here takes ${channels} channels, not the ${inputSize[0]} of the input size`);
  }
  const [, height, width] = inputSize;
  const args: ModelArgs = family.takesImageSize
    ? { ...modelArgs, img_size: [height, width] }
    : { ...modelArgs };
  return { ...config, modelArgs: args, preprocessing: { ...preprocessing, inputSize } };
}
