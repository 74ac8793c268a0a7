import { expect, it } from 'vitest';
import { validated } from '../common/options.ts';
import { checkAugmentation } from './augment.ts';
import { augmentationOf, augmentOptions } from './augment-options.ts';

const made = (options: object) => augmentationOf(validated(augmentOptions, options));

it.each([
  [{}, undefined],
  [{ crop: 'shift' }, { crop: { kind: 'shift', pixels: 2 } }],
  [
    { crop: 'shift', shift: 4, flip: 0.5 },
    { crop: { kind: 'shift', pixels: 4 }, flip: 0.5 },
  ],
  [
    { crop: 'resized', erase: 0.25 },
    { crop: { kind: 'resized', scale: [0.08, 1] }, erase: 0.25 },
  ],
  [{ flip: 1 }, { flip: 1 }],
])('%j is the augmentation %j', (options, augmentation) => {
  expect(made(options)).toEqual(augmentation);
  if (augmentation) expect(() => checkAugmentation(made(options)!)).not.toThrow();
});

it('refuses what is no probability', () => {
  expect(() => made({ flip: 1.5 })).toThrow('option flip: it must be a number from 0 to 1, not 1.5');
});
