import { UserError } from '../common/errors.ts';
import { nearestNames } from '../common/near-names.ts';
import { fromTimmConfig, type Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { families } from './families/index.ts';
import type { ArchitectureBuilder, Family } from './family.ts';
import type { ModelArgs } from './model-args.ts';
import type { ParameterSource } from './parameter-source.ts';
import { type TimmModel, timmModels } from './timm-models.ts';

/** What timm says about one of its model names, and the family that builds it. */
export interface Architecture {
  readonly name: string;
  readonly family: Family;
  /** timm's `module.Class`. */
  readonly className: string;
  /** What the name's entry point gives the constructor. */
  readonly args: ModelArgs;
  readonly numClasses: number;
  readonly preprocessing: Preprocessing;
  /** Whether timm holds its models to their input size. */
  readonly fixedInputSize: boolean;
  /** Modules that make the logits, and that read the images, by their names in the state dict. */
  readonly classifier: readonly string[];
  readonly firstConv: readonly string[];
  readonly parameterCount: number;
  readonly tensorCount: number;
  /** See `stateHash`. */
  readonly stateHash: string;
  /** Tags of the pretrained weights there are: `fb_in1k`. */
  readonly tags: readonly string[];
}

interface Builder {
  family: Family;
  build: ArchitectureBuilder;
}

/** Who builds a timm class. */
const builders: ReadonlyMap<string, Builder> = new Map(
  families.flatMap((family) =>
    Object.entries(family.classes).map(([name, build]) => [name, { family, build }] as const),
  ),
);

/** A name's line in timm's table; a pretrained tag after a dot is allowed and ignored. */
function findRow(name: string): { name: string; row: TimmModel } | undefined {
  const { models } = timmModels();
  const found = [name, name.split('.')[0]!].find((key) => Object.hasOwn(models, key));
  return found === undefined ? undefined : { name: found, row: models[found]! };
}

const list = (names: string | readonly string[]) => (typeof names === 'string' ? [names] : names);

function toArchitecture(name: string, row: TimmModel, family: Family): Architecture {
  const config = { ...timmModels().defaults, ...row.config };
  return {
    name,
    family,
    className: row.class,
    args: family.namedArgs?.(name, row.args) ?? row.args,
    numClasses: config.num_classes,
    preprocessing: fromTimmConfig(config, name),
    fixedInputSize: config.fixed_input_size,
    classifier: list(config.classifier),
    firstConv: list(config.first_conv),
    parameterCount: row.parameters,
    tensorCount: row.tensors,
    stateHash: row.stateHash,
    tags: row.tags,
  };
}

/** All architecture names that can be built, in the table's order; with a family, only its own. */
export function modelNames(family?: Family): string[] {
  return Object.entries(timmModels().models)
    .filter(([, row]) => {
      const builder = builders.get(row.class);
      return builder && (!family || builder.family === family);
    })
    .map(([name]) => name);
}

/**
 * The architecture of a timm name; a pretrained tag after a dot is allowed and ignored.
 * @throws UserError when there is none of that name (the nearest are suggested), or its family has no builder
 */
export function findArchitecture(name: string): Architecture {
  const found = findRow(name);
  if (!found) {
    const near = nearestNames(name, Object.keys(timmModels().models));
    const hint = near.length
      ? `did you mean ${near.join(', ')}?`
      : 'names are those of timm, such as deit_base_patch16_224';
    throw new UserError(`unknown architecture "${name}": ${hint}`);
  }
  const architecture = knownArchitecture(name);
  if (architecture) return architecture;
  const [module] = found.row.class.split('.');
  throw new UserError(
    `architecture "${found.name}" is of timm's ${module} family, which is not built yet; export it to ONNX with PyTorch and give the .onnx file`,
  );
}

/**
 * The constructor arguments as timm completes them: what the name says, then image size, channels and
 * classes of the input configuration, then `modelArgs` over all.
 * @throws UserError on an image size given to a class that takes none
 */
export function completeArgs(
  architecture: Architecture,
  modelArgs: ModelArgs = {},
  preprocessing: Preprocessing = architecture.preprocessing,
  numClasses: number = architecture.numClasses,
): ModelArgs {
  const [channels, height, width] = preprocessing.inputSize;
  if ('img_size' in modelArgs && !architecture.family.takesImageSize) {
    throw new UserError(
      `${architecture.name} takes no img_size: its input size is the input_size of its configuration`,
    );
  }
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
    return builders.get(architecture.className)!.build(args, source);
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${architecture.name}: ${error.message}`);
    if (error instanceof RangeError) {
      throw new UserError(`${architecture.name}: the arguments ask for more than fits (${error.message})`);
    }
    throw error;
  }
}

/** The architecture of a name; undefined when there is none of that name, or its family has no builder. */
export function knownArchitecture(name: string): Architecture | undefined {
  const found = findRow(name);
  const builder = found && builders.get(found.row.class);
  return builder && toArchitecture(found.name, found.row, builder.family);
}

/** Whether timm has an architecture of that name, built here or not. */
export function isArchitecture(name: string): boolean {
  return findRow(name) !== undefined;
}
