import { UserError } from '../common/errors.ts';
import { parseJson } from '../common/json.ts';
import { quoted } from '../common/quoted.ts';
import { fromTimmConfig, type TimmInputConfig, toTimmConfig } from '../dataset/preprocessing.ts';
import type { ModelConfig } from './model.ts';
import type { ModelArgs } from './model-args.ts';
import type { ModelInfo } from './model-info.ts';
import { type Architecture, findArchitecture } from './registry.ts';

/** The `config.json` of a timm model on the hub. */
interface TimmConfig {
  architecture?: string;
  num_classes?: number;
  label_names?: string[] | Record<string, string>;
  model_args?: ModelArgs;
  pretrained_cfg?: TimmInputConfig & { num_classes?: number; global_pool?: string; label_names?: string[] };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Reads a timm `config.json`: older ones have the fields of `pretrained_cfg` at the top.
 * @param path the file's name in errors
 * @throws UserError when it is not JSON, names no known architecture, or a field is of the wrong kind
 */
export function readTimmConfig(text: string, path: string): ModelConfig {
  const parsed = parseJson(text, path);
  if (!isRecord(parsed)) throw new UserError(`${path} is not a JSON object`);
  const config = parsed as TimmConfig;
  const input = (config.pretrained_cfg ?? parsed) as NonNullable<TimmConfig['pretrained_cfg']>;
  if (!isRecord(input)) throw new UserError(`${path}: pretrained_cfg is not an object`);
  if (typeof config.architecture !== 'string') throw new UserError(`${path} names no architecture`);
  const { model_args: modelArgs = {} } = config;
  if (!isRecord(modelArgs)) throw new UserError(`${path}: model_args is not an object`);
  const architecture = named(config.architecture, path);
  const numClasses: unknown = config.num_classes ?? input.num_classes ?? architecture.numClasses;
  if (typeof numClasses !== 'number' || !Number.isInteger(numClasses) || numClasses < 0 || numClasses > 1e7) {
    throw new UserError(`${path}: num_classes is ${quoted(numClasses)}; it must be a whole number`);
  }
  const classNames = classNamesOf(parsed, numClasses);
  const defaults = toTimmConfig(architecture.preprocessing);
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null));
  const own = 'in_chans' in modelArgs || !('input_size' in given) ? {} : { mean: null, std: null };
  return {
    architecture: architecture.name,
    modelArgs:
      typeof input.global_pool === 'string' && input.global_pool
        ? { global_pool: input.global_pool, ...modelArgs }
        : modelArgs,
    numClasses,
    ...(classNames ? { classNames } : {}),
    preprocessing: fromTimmConfig({ ...defaults, ...own, ...given }, path),
  };
}

/** Names of classes from `label_names`, where it stands in timm's configurations; undefined where it does not name each. */
export function classNamesOf(config: Readonly<Record<string, unknown>>, count: number): string[] | undefined {
  const { label_names: own, pretrained_cfg: input } = config;
  const labels = own ?? (isRecord(input) ? input.label_names : undefined);
  const names = Array.isArray(labels) && labels.length === count && count > 0;
  return names && labels.every((name) => typeof name === 'string') ? labels : undefined;
}

function named(name: string, path: string) {
  try {
    return findArchitecture(name);
  } catch (error) {
    throw new UserError(`${path}: ${(error as Error).message}`);
  }
}

/** The `config.json` with which timm builds the model; `modelArgs` as `inferModelArgs` found them. */
export function writeTimmConfig(
  architecture: Architecture,
  info: ModelInfo,
  modelArgs: ModelArgs,
  features: number,
): string {
  const { classNames, preprocessing } = info;
  const numClasses = modelArgs.num_classes === 0 ? 0 : info.numClasses;
  const { num_classes: _, ...args } = modelArgs;
  const config = {
    architecture: architecture.name,
    num_classes: numClasses,
    num_features: features,
    ...(classNames ? { label_names: classNames } : {}),
    ...(Object.keys(args).length ? { model_args: args } : {}),
    pretrained_cfg: {
      ...toTimmConfig(preprocessing),
      fixed_input_size: architecture.fixedInputSize,
      num_classes: numClasses,
      pool_size: null,
      first_conv: oneOrMore(architecture.firstConv),
      classifier: oneOrMore(architecture.classifier),
    },
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** timm's way to write one name or several. */
const oneOrMore = (names: readonly string[]) => (names.length === 1 ? names[0] : names);
