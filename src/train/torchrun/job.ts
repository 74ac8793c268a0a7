import { UserError } from '../../common/errors.ts';
import type { Augmentation } from '../../dataset/augmentation.ts';
import type { Preprocessing } from '../../dataset/preprocessing.ts';
import type { Graph, Value } from '../../graph/graph.ts';
import { modelParameters } from '../../graph/learned.ts';
import { learnedStatistics } from '../batch-norm.ts';
import type { Settings } from '../finetune-options.ts';
import { layerRates } from '../layer-decay.ts';
import type { Distillation } from '../loss.ts';
import type { Plan } from '../plan.ts';
import { decaySteps } from '../schedule.ts';
import { decayOf } from '../step.ts';

/** A parameter as the trainer finds it in the module. */
export interface JobParameter {
  /** Its name in the module's state. */
  readonly key: string;
  readonly decays: boolean;
  /** How fast it learns beside the others. */
  readonly rate: number;
}

/** All that the trainer is told: the recipe with every default filled in, and what it is about. */
export interface Job extends Plan {
  /** Of the recipe and the model: what a checkpoint or a result must be of. */
  readonly digest: string;
  readonly parameters: readonly JobParameter[];
  readonly preprocessing: Preprocessing;
  readonly augment: Augmentation | null;
  readonly task: 'classify' | 'distill';
  /** Null for the task distill. */
  readonly classes: number | null;
  readonly teacher: boolean;
  readonly distillation: Distillation;
  readonly trainImages: number;
  readonly heldOutImages: number;
  /** Buffers that batch norms learn, in the module's state; none where they stay as they are. */
  readonly statistics: readonly string[];
  readonly evaluate: boolean;
  readonly patience: number | null;
  readonly decaySteps: number;
  readonly checkpointEvery: number;
  /** How likely an image keeps each branch that can be left out, in the order of the module's inputs. */
  readonly keeps: readonly number[];
}

/** What the trainer does not know of the options. */
const unknownThere: { readonly [Key in keyof Settings]?: (value: Settings[Key]) => boolean } = {
  recompute: (asked) => asked,
};

function refuseUnknown(settings: Settings): void {
  for (const [key, isUnknown] of Object.entries(unknownThere)) {
    const value = settings[key as keyof Settings];
    if (!(isUnknown as (value: unknown) => boolean)(value)) continue;
    throw new UserError(`torchrun does not know ${key} ${value}: leave it out, or train with --engine ort`);
  }
}

/**
 * The job that trains a model under these settings.
 * @param names of the model's constants in the module's state
 * @throws UserError when the model can't be trained so
 */
export function jobOf(
  graph: Graph,
  settings: Settings,
  plan: Plan,
  names: ReadonlyMap<string, string>,
  about: Pick<Job, 'digest' | 'trainImages' | 'heldOutImages' | 'checkpointEvery' | 'keeps'>,
): Job {
  refuseUnknown(settings);
  const images = graph.inputs[0]?.shape?.[0];
  if (typeof images === 'number') {
    throw new UserError(
      `the model takes ${images} images at a time and no other number: torchrun divides batches; train it with --engine ort`,
    );
  }
  const { teacher, augment, evaluate, layerDecay, distill, temperature, ...others } = settings;
  const { threads: _, kept: __, calibration: ___, distillKind: kind, ...rest } = others;
  const { task = 'classify', best, patience = null } = rest;
  const [logits] = graph.outputs;
  const classes = logits?.shape?.length === 2 ? logits.shape[1] : undefined;
  if (task === 'classify' && typeof classes !== 'number') {
    throw new UserError(
      `${graph.name} has no output logits [N, classes] to train; the task distill takes any outputs`,
    );
  }
  return {
    ...rest,
    ...plan,
    ...about,
    task,
    patience,
    parameters: jobParameters(graph, names, layerDecay),
    statistics:
      rest.batchNorm === 'train' ? learnedStatistics(graph).map((value) => keyOf(value, names)) : [],
    augment: augment ?? null,
    classes: task === 'classify' ? (classes as number) : null,
    teacher: teacher !== undefined,
    distillation: { kind, weight: distill ?? 0.5, temperature },
    evaluate: task === 'classify' && (evaluate || best || patience !== null),
    decaySteps: decaySteps(settings, plan.totalSteps),
  };
}

function jobParameters(graph: Graph, names: ReadonlyMap<string, string>, layerDecay: number): JobParameter[] {
  const trained = modelParameters(graph).filter(({ dtype }) => dtype === 'float32');
  if (trained.length === 0) throw new UserError(`${graph.name} has no parameters that could be trained`);
  const decays = decayOf(graph);
  const rates =
    layerDecay === 1
      ? undefined
      : layerRates(
          trained.map(({ name }) => name),
          layerDecay,
        );
  return trained.map((value) => ({
    key: keyOf(value, names),
    decays: decays(value),
    rate: rates?.get(value.name) ?? 1,
  }));
}

/** What a value is called in the module's state. */
function keyOf({ name }: Value, names: ReadonlyMap<string, string>): string {
  const key = names.get(name);
  if (key === undefined) throw new UserError(`${name} is not part of the TorchScript module's state`);
  return key;
}
