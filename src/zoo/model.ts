import { UserError } from '../common/errors.ts';
import { fromTimmConfig, type Preprocessing, toTimmConfig } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { elementCount } from '../graph/tensor.ts';
import type { ModelArgs } from './model-args.ts';
import { setModelInfo } from './model-info.ts';
import { type ParameterSource, randomParameters } from './parameter-source.ts';
import { buildArchitecture, completeArgs, findArchitecture } from './registry.ts';

/** A model by architecture and what differs from it. */
export interface ModelConfig {
  /** timm's name. */
  architecture: string;
  /** Constructor arguments over those of the name. */
  modelArgs?: ModelArgs;
  numClasses?: number;
  classNames?: readonly string[];
  preprocessing?: Preprocessing;
}

/**
 * The graph of a configured architecture, with its notes (`modelInfo`).
 * @param maxParameters a model that would have more is refused before memory is taken for it
 * @throws UserError on an unknown architecture or arguments it can't be built with
 */
export function buildModel(
  config: ModelConfig,
  source: ParameterSource,
  maxParameters = defaultMaxParameters,
): Graph {
  const architecture = findArchitecture(config.architecture);
  const preprocessing = config.preprocessing ?? architecture.preprocessing;
  const args = completeArgs(architecture, config.modelArgs, preprocessing, config.numClasses);
  const graph = buildArchitecture(architecture, args, withinBudget(source, maxParameters));
  const numClasses = args.num_classes === 0 ? 0 : (graph.outputs[0]!.shape!.at(-1) as number);
  const { classNames, modelArgs = {} } = config;
  if (classNames && classNames.length !== numClasses) {
    throw new UserError(`${classNames.length} class names for ${numClasses} classes`);
  }
  setModelInfo(graph, {
    architecture: architecture.name,
    ...(Object.keys(modelArgs).length ? { modelArgs } : {}),
    numClasses,
    ...(classNames ? { classNames: [...classNames] } : {}),
    preprocessing: resized(preprocessing, graph.inputs[0]!.shape!.slice(1) as number[]),
    history: [],
  });
  return graph;
}

/** Above timm's largest, EVA's 4.4 thousand millions. */
export const defaultMaxParameters = 10e9;
/** No model of timm's has a fifth of that. */
const maxTensors = 10_000;

/** A source that ends the building of what would never end, or fit into memory. */
function withinBudget(source: ParameterSource, maxParameters: number): ParameterSource {
  let parameters = 0;
  let tensors = 0;
  return (name, shape, ...rest) => {
    parameters += elementCount(shape);
    if (!(parameters <= maxParameters)) {
      throw new UserError(
        `${name} [${shape}] makes it more than ${maxParameters.toLocaleString('en')} parameters (--max-parameters)`,
      );
    }
    if (++tensors > maxTensors) throw new UserError(`the arguments ask for more than ${maxTensors} tensors`);
    return source(name, shape, ...rest);
  };
}

/** The preprocessing for an input of another shape; other channels get the mean of mean and deviation. */
function resized(preprocessing: Preprocessing, inputSize: readonly number[]): Preprocessing {
  const { mean, std, ...rest } = toTimmConfig(preprocessing);
  const config = { ...rest, input_size: inputSize };
  if (inputSize[0] === preprocessing.inputSize[0])
    return fromTimmConfig({ ...config, mean: mean!, std: std! }, 'model');
  const average = (values: readonly number[]) => [
    values.reduce((sum, value) => sum + value, 0) / values.length,
  ];
  return fromTimmConfig({ ...config, mean: average(mean!), std: average(std!) }, 'model');
}

/**
 * A model with random weights, initialized as timm does; the same seed gives the same weights.
 * @throws UserError as `buildModel`
 */
export function initModel(config: ModelConfig, seed = 0, maxParameters = defaultMaxParameters): Graph {
  return buildModel(config, randomParameters(seed), maxParameters);
}
