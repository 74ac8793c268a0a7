import { UserError } from '../common/errors.ts';
import type { Split } from '../dataset/dataset.ts';
import { finetuneOptions, type Settings } from './finetune-options.ts';

/** How a training divides its images. */
export interface Plan {
  batchSize: number;
  imagesAnEpoch: number;
  /** Batches of an epoch that are used: a multiple of those that make an update. */
  batchesAnEpoch: number;
  totalSteps: number;
}

export function planOf(train: Split, { epochs, batchSize, accumulate, limit }: Settings): Plan {
  const images = Math.min(limit ?? train.length, train.length);
  if (images === 0) throw new UserError(`${train.name} has no images to train on`);
  const size = Math.min(batchSize, Math.max(1, Math.floor(images / accumulate)));
  const updates = Math.floor(images / size / accumulate);
  const batchesAnEpoch = updates * accumulate;
  return {
    batchSize: size,
    imagesAnEpoch: batchesAnEpoch * size,
    batchesAnEpoch,
    totalSteps: updates * epochs,
  };
}

/** What decides the result, as text. */
export function recipeOf(options: Settings, plan: Plan): string {
  const {
    teacher,
    kept: _kept,
    calibration,
    threads: _,
    evaluate: __,
    recompute: ___,
    workers: ____,
    task,
    batchNorm,
    ...rest
  } = options;
  return JSON.stringify({
    ...rest,
    ...(task === 'distill' ? { task } : {}),
    ...(batchNorm === 'train' ? { batchNorm } : {}),
    teacher: teacher?.name,
    calibration: calibration?.length,
    ...plan,
  });
}

/** A recipe by name. One written before an option was known was made with the option's default. */
function recipeFrom(text: string): Record<string, unknown> {
  const defaults = Object.entries(finetuneOptions.shape).map(([name, schema]): [string, unknown] => [
    name,
    schema.safeParse(undefined).data,
  ]);
  return { ...Object.fromEntries(defaults), ...(JSON.parse(text) as object) };
}

export function checkRecipe(saved: string, wanted: string): void {
  const [a, b] = [recipeFrom(saved), recipeFrom(wanted)];
  const changed = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter(
    (key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]),
  );
  if (changed.length === 0) return;
  throw new UserError(
    `the checkpoint was made with other options (${changed.join(', ')}); start again without resuming, or use the same`,
  );
}
