import type { Graph } from '../graph/graph.ts';
import { type CheckpointOptions, type CheckpointWeights, modelWithWeights } from './checkpoint-model.ts';
import { readTimmConfig } from './timm-config.ts';
import { type ConfigFile, isTransformers, modelOfTransformers } from './transformers/model.ts';

/**
 * The model of a config.json, timm's or that of transformers, with its weights.
 * @param preprocessor the preprocessor_config.json beside it, which only transformers has
 * @throws UserError when it is neither, or the weights do not fit
 */
export function configuredModel(
  config: ConfigFile,
  preprocessor: ConfigFile | undefined,
  weights: CheckpointWeights,
  options: CheckpointOptions = {},
): Graph {
  const fields = parsed(config.text);
  if (fields && isTransformers(fields)) {
    return modelOfTransformers(fields, config.path, preprocessor, weights, options);
  }
  return modelWithWeights(readTimmConfig(config.text, config.path), weights, options);
}

/** The object that a text is in JSON; nothing when it is none, which timm's reader says. */
function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
