import { UserError } from '../common/errors.ts';
import type { Dataset, Split } from './dataset.ts';

/**
 * By what a data set's classes are a model's: by their `names`, in whatever order, or by the order of its `folder`s,
 * whatever they are called.
 */
export const classOrders = ['names', 'folder'] as const;
export type ClassOrder = (typeof classOrders)[number];

/** Classes that nobody named: they are called by their own number. */
export const areNamed = (names: readonly string[]): boolean => names.some((name, i) => name !== `${i}`);

/**
 * A data set with labels and classes as a model numbers them.
 * @param count of the model's classes
 * @param names of them, where the model knows
 * @returns the data set, and a line to say where its classes were not taken as they stand
 * @throws UserError when the classes can't be the model's
 */
export function inModelOrder(
  dataset: Dataset,
  { count, names }: { count: number; names?: readonly string[] | undefined },
  order: ClassOrder = 'names',
): { dataset: Dataset; note?: string } {
  const { name, classes } = dataset;
  const byName = order === 'names' && names && areNamed(names) && areNamed(classes);
  if (!byName) {
    if (classes.length !== count) {
      throw new UserError(
        `${name} has ${classes.length} classes and the model ${count}; they must be the same (finetune --new-head starts a head for them)`,
      );
    }
    if (!names || order === 'names') return { dataset };
    return {
      dataset: { ...dataset, classes: names },
      note: `${name}: classes taken in the order of its folders`,
    };
  }
  const positions = new Map(names.map((own, i) => [own, i]));
  const strangers = classes.filter((own) => !positions.has(own));
  if (strangers.length > 0) {
    const some = strangers
      .slice(0, 3)
      .map((own) => `"${own}"`)
      .join(', ');
    throw new UserError(
      `${name} has classes that the model does not know (${some}${strangers.length > 3 ? ', ...' : ''}; it knows "${names[0]}", "${names[1] ?? ''}", ...): give --class-order folder if they are the same in the same order`,
    );
  }
  if (`${classes}` === `${names}`) return { dataset };
  const to = classes.map((own) => positions.get(own)!);
  const moved = (split: Split): Split => ({
    name: split.name,
    length: split.length,
    label: (index) => to[split.label(index)]!,
    id: (index) => split.id(index),
    read: (index, viewer) => split.read(index, viewer),
    source: split.source && ((index) => split.source!(index)),
    pool: split.pool && ((threads, preparation) => split.pool!(threads, preparation)),
  });
  const missing = count - classes.length;
  const note = `${name}: classes matched to the model's by their names${missing ? `; ${missing} of the model's are not in it` : ''}`;
  return {
    dataset: { ...dataset, classes: names, train: moved(dataset.train), val: moved(dataset.val) },
    note,
  };
}
