import type { Dataset, Split } from './dataset.ts';
import { holdOut } from './hold-out.ts';

/** Some of a split's images. */
const part = (split: Split, name: string, indices: readonly number[]): Split => ({
  name: `${split.name}, ${name}`,
  length: indices.length,
  label: (index) => split.label(indices[index]!),
  id: (index) => split.id(indices[index]!),
  read: (index, viewer) => split.read(indices[index]!, viewer),
  source: split.source && ((index) => split.source!(indices[index]!)),
  pool:
    split.pool &&
    ((threads, preparation) => {
      const pool = split.pool!(threads, preparation);
      return { ...pool, prepare: (index, keys) => pool.prepare(indices[index]!, keys) };
    }),
});

/**
 * The data set for a training that chooses by its held-out images: those of a test set are never chosen by, so a
 * fifth of each class of the training images takes their place.
 */
export function forChoosing(dataset: Dataset): Dataset {
  if (!dataset.isTest) return dataset;
  const { train } = dataset;
  const all = Array.from({ length: train.length }, (_, index) => ({ index, label: train.label(index) }));
  const held = holdOut(all, ({ index }) => train.id(index));
  const indices = (samples: readonly { index: number }[]) => samples.map(({ index }) => index);
  return {
    ...dataset,
    isTest: false,
    train: part(train, 'to train on', indices(held.train)),
    val: part(train, 'to choose by', indices(held.val)),
  };
}
