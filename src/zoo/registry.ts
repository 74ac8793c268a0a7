import { UserError } from '../common/errors.ts';
import { fromTimmConfig, type Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { defaultInputConfig, timmModels } from './data/timm-models.ts';
import type { ModelArgs } from './model-args.ts';
import { nearestNames } from './names.ts';
import type { ParameterSource } from './parameter-source.ts';
import { buildVisionTransformer, buildVisionTransformerDistilled } from './vision-transformer.ts';

/** What timm says about one of its model names. */
export interface Architecture {
  readonly name: string;
  /** timm's Python module and the class in it; together they choose the builder. */
  readonly module: string;
  readonly className: string;
  /** What the name's entry point gives the constructor. */
  readonly args: ModelArgs;
  readonly numClasses: number;
  readonly preprocessing: Preprocessing;
  readonly parameterCount: number;
  readonly tensorCount: number;
  /** See `stateHash`. */
  readonly stateHash: string;
  /** Tags of the pretrained weights there are: `fb_in1k`. */
  readonly tags: readonly string[];
}

/**
 * Builds the graph of an architecture: input `pixel_values` `[N, C, H, W]`, output `logits`, parameters
 * as constants under timm's state-dict names. `args` are complete: image size, channels and classes included.
 */
export type ArchitectureBuilder = (args: ModelArgs, source: ParameterSource) => Graph;

/** timm `module.Class` -> builder. A family is supported when it has a row. */
export const builders: Record<string, ArchitectureBuilder> = {
  'vision_transformer.VisionTransformer': buildVisionTransformer,
  'deit.VisionTransformer': buildVisionTransformer,
  'deit.VisionTransformerDistilled': buildVisionTransformerDistilled,
};

type Row = [string, string, string, ModelArgs, Record<string, unknown>, number, number, string, string[]];

let rows: Map<string, Row> | undefined;

function table(): Map<string, Row> {
  rows ??= new Map(
    timmModels
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Row)
      .map((row) => [row[0], row]),
  );
  return rows;
}

const keyOf = ([, module, className]: Row) => `${module}.${className}`;

function toArchitecture(row: Row): Architecture {
  const [name, module, className, args, cfg, parameterCount, tensorCount, stateHash, tags] = row;
  const config = { ...defaultInputConfig, ...cfg };
  return {
    name,
    module,
    className,
    args,
    numClasses: config.num_classes,
    preprocessing: fromTimmConfig(config, name),
    parameterCount,
    tensorCount,
    stateHash,
    tags,
  };
}

/** All architecture names that can be built, in the registry's order. */
export function modelNames(): string[] {
  return [...table().values()].filter((row) => keyOf(row) in builders).map(([name]) => name);
}

/**
 * The architecture of a timm name; a pretrained tag after a dot is allowed and ignored.
 * @throws UserError when there is none of that name (the nearest are suggested), or its family has no builder
 */
export function findArchitecture(name: string): Architecture {
  const row = table().get(name) ?? table().get(name.split('.')[0]!);
  if (!row) {
    const near = nearestNames(name, modelNames());
    const hint = near.length
      ? `did you mean ${near.join(', ')}?`
      : 'names are those of timm, such as deit_base_patch16_224';
    throw new UserError(`unknown architecture "${name}": ${hint}`);
  }
  if (!(keyOf(row) in builders)) {
    throw new UserError(`architecture "${row[0]}" is of the ${row[1]} family, which is not supported yet`);
  }
  return toArchitecture(row);
}

/**
 * The constructor arguments as timm completes them: what the name says, then image size, channels and
 * classes of the input configuration, then `modelArgs` over all.
 */
export function completeArgs(
  architecture: Architecture,
  modelArgs: ModelArgs = {},
  preprocessing: Preprocessing = architecture.preprocessing,
  numClasses: number = architecture.numClasses,
): ModelArgs {
  const [channels, height, width] = preprocessing.inputSize;
  return {
    img_size: [height, width],
    in_chans: channels,
    num_classes: numClasses,
    ...architecture.args,
    ...modelArgs,
  };
}

/** Builds an architecture's graph. @throws UserError on arguments the architecture does not have or can't combine */
export function buildArchitecture(
  architecture: Architecture,
  args: ModelArgs,
  source: ParameterSource,
): Graph {
  try {
    return builders[`${architecture.module}.${architecture.className}`]!(args, source);
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${architecture.name}: ${error.message}`);
    throw error;
  }
}

/** Whether timm has an architecture of that name, supported here or not. */
export function isArchitecture(name: string): boolean {
  return table().has(name) || table().has(name.split('.')[0]!);
}
