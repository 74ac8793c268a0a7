import { describe, expect, it } from 'vitest';
import { validated } from '../common/options.ts';
import { checkAugmentation } from '../dataset/augment.ts';
import { augmentationOf, augmentOptions } from '../dataset/augment-options.ts';
import { finetuneOptions } from './finetune-options.ts';
import { assertTaught, presetLine, presetNames, presets, withPreset } from './presets.ts';

const schema = finetuneOptions.extend(augmentOptions.shape);

describe.each(presetNames)('preset %s', (preset) => {
  const { options } = presets[preset];

  it('has options that there are, all of which are needed and make sense', () => {
    const { preset: _, ...filled } = withPreset({ preset });
    const settings = validated(schema, filled);
    expect(settings).toMatchObject(options);
    const augmentation = augmentationOf(settings);
    if (augmentation) expect(() => checkAugmentation(augmentation)).not.toThrow();
  });
});

it('fills in what was not given, says what that is, and gives way to what was', () => {
  const given = { preset: 'quick', epochs: 7, jitter: undefined };
  expect(withPreset(given)).toEqual({ preset: 'quick', epochs: 7, crop: 'shift', jitter: 0.1 });
  expect(presetLine(given)).toBe('preset quick sets crop shift, jitter 0.1');
  expect(presetLine(withPreset(given))).toBe('preset quick sets nothing: all that it has is given');
  expect(withPreset({ lr: 1 })).toEqual({ lr: 1 });
  expect(presetLine({ lr: 1 })).toBeUndefined();
});

it('can be told to leave RandAugment out', () => {
  const { preset: _, ...filled } = withPreset({ preset: 'paper', randAugment: 'none', erase: 0 });
  expect(augmentationOf(validated(schema, filled))).toBeUndefined();
});

it('is that of the PQV-Mobile paper', () => {
  expect(presets.paper.options).toMatchObject({
    ...{ optimizer: 'adamw', lr: 0.000015, weightDecay: 0.3, schedule: 'cosine', clipNorm: 1, epochs: 60 },
    ...{ labelSmoothing: 0.11, mixup: 0.2, cutmix: 1, erase: 0.25, repeatedAugment: 3 },
  });
});

it('needs a teacher where it learns from one', () => {
  expect(() => assertTaught('distill', undefined)).toThrow(/preset distill learns from a teacher: give one/);
  expect(() => assertTaught('distill', 'deit/')).not.toThrow();
  expect(() => assertTaught('paper', undefined)).not.toThrow();
});
