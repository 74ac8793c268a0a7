import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { Random, shuffled } from '../common/random.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import type { Augmentation } from './augmentation.ts';
import type { Batch, RawImage, Split } from './dataset.ts';
import type { ImagePool } from './image-pool.ts';
import { concurrencyLimit } from './limit.ts';
import { checkMixing, type Mixing, mixBatch } from './mix.ts';
import { evalPreparation, isLarge, trainPreparation } from './prepare.ts';
import type { Preprocessing } from './preprocessing.ts';
import { createResampler, type Resampler } from './resample.ts';

export interface LoaderOptions {
  /** Where resizing is computed. */
  engine: Engine;
  batchSize: number;
  /** Random order, and the source of what augmentation and mixing draw. Default: the order of the split, 0, 0. */
  shuffle?: { readonly seed: number; readonly epoch: number };
  /** Only these images of the split, in this order (repeats allowed) unless shuffled. */
  indices?: readonly number[];
  /**
   * Only this many images: the first after shuffling, or evenly spread ones when not shuffled, since
   * splits are sorted by class.
   */
  limit?: number;
  /**
   * Give each image so many times in a row, each time changed anew, and as many images as without: only that share of
   * them is seen in a pass. Default 1.
   */
  repeats?: number;
  /** Leave out a last batch that is not full. */
  dropLast?: boolean;
  /** Begin after this many batches, without reading them. */
  skipBatches?: number;
  augment?: Augmentation;
  /** Mix images and give `targets`. */
  mixing?: Mixing;
  /** Threads that prepare the images of this split, with the preprocessing and augmentation given here. */
  pool?: ImagePool;
  /** Images decoded at once; default 4, or two a thread of the pool. */
  concurrency?: number;
  /** Batches prepared ahead while the consumer computes; default 1. */
  prefetch?: number;
  /** Told about images that can't be read. */
  progress?: Progress;
}

/** One pass over a split. Each iteration is a new pass and gives the same batches. */
export interface Batches extends AsyncIterable<Batch> {
  /** Batches still to come (those skipped not counted). */
  readonly length: number;
  /** Images in them. */
  readonly images: number;
  /** Ids of the images the latest pass could not read. */
  readonly unreadable: readonly string[];
}

/** The share of a split's images that may be unreadable. */
const tolerated = 0.01;

/** What the random streams of a pass are for; a part of their keys. */
export const stream = { order: 0, image: 1, batch: 2, dropPath: 3 };

/**
 * Reads, prepares and batches a split. The batches are a function of the options alone: the same for
 * every concurrency, and from `skipBatches` on the same as without it, so a run can be resumed at any
 * batch of any epoch bit for bit. At most `prefetch + 1` batches are in memory.
 *
 * An image that can't be read is named in a note and left out of its batch, which is then smaller (and
 * left out when empty); the others stay where they are.
 * @throws UserError on options that make no sense, or an empty split; while iterating: when more
 *   than 1 % of the split's images, or all that were asked for, can't be read
 */
export function batches(split: Split, preprocessing: Preprocessing, options: LoaderOptions): Batches {
  const { batchSize, skipBatches = 0, dropLast = false } = options;
  for (const name of ['batchSize', 'limit', 'repeats', 'concurrency'] as const) {
    if (options[name] !== undefined) requireInteger(name, options[name], 1);
  }
  for (const name of ['skipBatches', 'prefetch'] as const) {
    if (options[name] !== undefined) requireInteger(name, options[name], 0);
  }
  if (options.mixing) checkMixing(options.mixing);
  const order = passOrder(split, options);
  const total = dropLast ? Math.floor(order.length / batchSize) : Math.ceil(order.length / batchSize);
  const end = Math.min(order.length, total * batchSize);
  const start = Math.min(end, skipBatches * batchSize);
  let unreadable: string[] = [];
  return {
    length: Math.max(0, total - skipBatches),
    images: end - start,
    get unreadable() {
      return unreadable;
    },
    [Symbol.asyncIterator]() {
      unreadable = [];
      return pass(split, preprocessing, options, order.subarray(0, end), skipBatches, unreadable);
    },
  };
}

async function* pass(
  split: Split,
  preprocessing: Preprocessing,
  options: LoaderOptions,
  order: Uint32Array,
  firstBatch: number,
  unreadable: string[],
): AsyncGenerator<Batch> {
  const { engine, batchSize, prefetch = 1, progress = silent } = options;
  const resampler = createResampler(engine);
  const limit = concurrencyLimit(options.concurrency ?? 2 * (options.pool?.threads ?? 2));
  const load = batchReader(split, preprocessing, options, resampler);
  const total = Math.ceil(order.length / batchSize);
  const ahead: Promise<LoadedBatch>[] = [];
  let given = false;
  try {
    for (let next = firstBatch, at = firstBatch; at < total; at++) {
      for (; next < total && next <= at + prefetch; next++) {
        const members = order.subarray(next * batchSize, (next + 1) * batchSize);
        const loading = load(members, next, limit.run);
        loading.catch(() => {}); // an error is met when the batch's turn comes
        ahead.push(loading);
      }
      const { batch, failures } = await ahead.shift()!;
      for (const { id, reason } of failures) {
        if (unreadable.includes(id)) continue;
        unreadable.push(id);
        progress.note(`skipped ${id}: can't be read (${reason})`);
      }
      if (unreadable.length > tolerated * split.length) {
        throw new UserError(
          `${split.name}: ${unreadable.length} of ${split.length} images can't be read, more than 1 %; the last is ${unreadable.at(-1)}`,
        );
      }
      if (batch) {
        given = true;
        yield batch;
      }
    }
    if (!given && unreadable.length > 0) {
      throw new UserError(
        `${split.name}: none of the ${unreadable.length} images asked for can be read; the last is ${unreadable.at(-1)}`,
      );
    }
    if (unreadable.length > 0) {
      progress.note(
        `${split.name}: skipped ${unreadable.length} of ${order.length} images that can't be read`,
      );
    }
  } finally {
    limit.close();
    await Promise.allSettled(ahead);
    await resampler.dispose();
  }
}

interface Failure {
  readonly id: string;
  readonly reason: string;
}

interface LoadedBatch {
  /** Absent when no image of it could be read. */
  readonly batch?: Batch;
  readonly failures: readonly Failure[];
}

/** Loads one batch: decodes and prepares its images side by side, then closes the gaps failures left. */
function batchReader(
  split: Split,
  preprocessing: Preprocessing,
  { batchSize, shuffle, augment, mixing, pool }: LoaderOptions,
  resampler: Resampler,
) {
  const { seed, epoch } = shuffle ?? { seed: 0, epoch: 0 };
  const [channels, height, width] = preprocessing.inputSize;
  const size = channels * height * width;
  const prepareEval = evalPreparation(preprocessing, resampler);
  const oneByOne = concurrencyLimit(1);
  const prepareTrain = augment && trainPreparation(preprocessing, augment, resampler);

  return async (
    members: Uint32Array,
    number: number,
    limited: <T>(task: () => Promise<T>) => Promise<T>,
  ): Promise<LoadedBatch> => {
    const pixels = new Float32Array(members.length * size);
    const outcomes = await Promise.allSettled(
      Array.from(members, (index, at) =>
        limited(async (): Promise<Failure | undefined> => {
          const keys = [seed, epoch, stream.image, number * batchSize + at];
          const training = pool ? undefined : prepareTrain?.(new Random(...keys));
          let image: RawImage;
          try {
            if (pool) {
              pixels.set(await pool.prepare(index, keys), at * size);
              return undefined;
            }
            image = await split.read(index, training?.viewer);
          } catch (error) {
            if (error instanceof UserError) throw error; // no fault of the image
            return { id: split.id(index), reason: error instanceof Error ? error.message : `${error}` };
          }
          const out = pixels.subarray(at * size, (at + 1) * size);
          const prepare = () => (training ? training.write(image, out) : prepareEval(image, out));
          await (isLarge(image) ? oneByOne.run(prepare) : prepare());
          return undefined;
        }),
      ),
    );
    const results = outcomes.map((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
    const failures = results.filter((result) => result !== undefined);
    const good = Array.from(members.keys()).filter((at) => results[at] === undefined);
    if (good.length === 0) return { failures };
    good.forEach((from, to) => {
      if (from !== to) pixels.copyWithin(to * size, from * size, (from + 1) * size);
    });
    const shape = [good.length, channels, height, width] as const;
    const kept = pixels.subarray(0, good.length * size);
    const labels = good.map((at) => split.label(members[at]!));
    const targets =
      mixing && mixBatch(kept, shape, labels, mixing, new Random(seed, epoch, stream.batch, number));
    return {
      failures,
      batch: {
        pixels: Tensor.float32(shape, kept),
        labels: Tensor.int64(labels),
        targets,
        ids: good.map((at) => split.id(members[at]!)),
      },
    };
  };
}

/**
 * The images of a pass in order: repeated ones as timm's RepeatAugSampler gives them (Hoffer et al., arXiv 1901.09335),
 * the first so many of all, each so many times.
 */
function passOrder(split: Split, options: LoaderOptions): Uint32Array {
  const { repeats = 1 } = options;
  const order = distinctOrder(split, options);
  return repeats === 1 ? order : order.map((_, i) => order[Math.floor(i / repeats)]!);
}

function distinctOrder(split: Split, { indices, limit, shuffle }: LoaderOptions): Uint32Array {
  if (split.length === 0) throw new UserError(`${split.name} has no images`);
  const outside = indices?.find((index) => !(Number.isInteger(index) && index >= 0 && index < split.length));
  if (outside !== undefined) throw new UserError(`${split.name} has no image ${outside} of ${split.length}`);
  const all = indices ? Uint32Array.from(indices) : Uint32Array.from({ length: split.length }, (_, i) => i);
  const order = shuffle ? shuffled(all, new Random(shuffle.seed, shuffle.epoch, stream.order)) : all;
  if (limit === undefined || limit >= order.length) return order;
  if (shuffle) return order.subarray(0, limit);
  return Uint32Array.from({ length: limit }, (_, i) => order[Math.floor((i * order.length) / limit)]!);
}

function requireInteger(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new UserError(`${name} is ${value}; give a whole number from ${least}`);
}
