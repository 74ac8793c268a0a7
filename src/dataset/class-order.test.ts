import { expect, it } from 'vitest';
import { inModelOrder } from './class-order.ts';
import type { Dataset, Split } from './dataset.ts';

function dataset(classes: readonly string[]): Dataset {
  const split: Split = {
    name: 'pets',
    length: 2 * classes.length,
    label: (index) => index % classes.length,
    id: (index) => `${classes[index % classes.length]}/${index}`,
    read: () => Promise.reject(new Error('not read')),
  };
  return { name: 'pets', classes, train: split, val: split };
}

/** What each image shows by the name of its class, and by its id. */
const shown = ({ classes, val }: Dataset) =>
  Array.from({ length: val.length }, (_, i) => [classes[val.label(i)], val.id(i).split('/')[0]]);

it('numbers the same names in another order as the model does', () => {
  const names = ['cat', 'dog', 'hamster'];
  const { dataset: matched, note } = inModelOrder(dataset(['hamster', 'cat', 'dog']), { count: 3, names });
  expect(matched.classes).toEqual(names);
  expect(matched.val.label(0)).toBe(2);
  for (const [name, folder] of shown(matched)) expect(name).toBe(folder);
  expect(note).toMatch(/classes matched to the model's by their names$/);
  expect(inModelOrder(dataset(names), { count: 3, names }).note).toBeUndefined();
});

it('takes a part of the classes, and says how many are missing', () => {
  const names = ['cat', 'dog', 'hamster'];
  const { dataset: matched, note } = inModelOrder(dataset(['hamster']), { count: 3, names });
  expect(matched.val.label(0)).toBe(2);
  expect(note).toMatch(/2 of the model's are not in it/);
});

it('refuses other names, unless their order is said to be the same', () => {
  const names = ['tench', 'goldfish'];
  const strangers = dataset(['n01440764', 'n01443537']);
  expect(() => inModelOrder(strangers, { count: 2, names })).toThrow(
    /does not know \("n01440764", "n01443537"; it knows "tench", "goldfish", ...\): give --class-order folder/,
  );
  const { dataset: taken, note } = inModelOrder(strangers, { count: 2, names }, 'folder');
  expect(taken.classes).toEqual(names);
  expect(taken.val.label(1)).toBe(1);
  expect(note).toMatch(/in the order of its folders/);
});

it('counts where nobody named the classes', () => {
  const numbered = dataset(['0', '1']);
  expect(inModelOrder(numbered, { count: 2, names: ['cat', 'dog'] }).dataset).toBe(numbered);
  expect(inModelOrder(dataset(['cat', 'dog']), { count: 2 }).note).toBeUndefined();
  expect(() => inModelOrder(dataset(['cat', 'dog']), { count: 3 })).toThrow(/has 2 classes and the model 3/);
});
