import type { z } from 'zod';
import { UserError } from '../common/errors.ts';
import type { augmentOptions } from '../dataset/augment-options.ts';
import type { finetuneOptions } from './finetune-options.ts';

type PresetOptions = Partial<z.input<typeof finetuneOptions> & z.input<typeof augmentOptions>>;

/** A named set of options, each for where nothing else is said. */
export interface Preset {
  readonly about: string;
  readonly options: Readonly<PresetOptions>;
  /** It learns from another model. */
  readonly needsTeacher?: boolean;
}

export type PresetName = 'paper' | 'quick' | 'distill' | 'qat';

/**
 * The presets by name. How images are cut and mirrored depends on what they show, and is left to who trains, but for a
 * move by two pixels, which no image minds.
 */
export const presets: Record<PresetName, Preset> = {
  paper: {
    about: 'that of the PQV-Mobile paper',
    options: {
      ...{ epochs: 60, optimizer: 'adamw', lr: 1.5e-5, weightDecay: 0.3, schedule: 'cosine', clipNorm: 1 },
      ...{ labelSmoothing: 0.11, mixup: 0.2, cutmix: 1 },
      ...{ randAugment: 'rand-m9-mstd0.5-inc1', erase: 0.25, repeatedAugment: 3 },
    },
  },
  quick: {
    about: 'two epochs with light augmentation, to see what comes of it',
    options: { epochs: 2, crop: 'shift', jitter: 0.1 },
  },
  distill: {
    about: 'mostly from a teacher, whose predictions are softened',
    options: { epochs: 10, distill: 0.9, temperature: 2, labelSmoothing: 0, crop: 'shift' },
    needsTeacher: true,
  },
  qat: {
    about: 'a trained model for the int8 numbers that ship, in small steps',
    options: { epochs: 3, qat: true, lr: 2e-5, weightDecay: 0, crop: 'shift' },
  },
};

export const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];

type Given = Readonly<Record<string, unknown>>;

const presetOf = ({ preset }: Given): Preset | undefined =>
  Object.hasOwn(presets, String(preset)) ? presets[preset as PresetName] : undefined;

const left = (given: Given): PresetOptions =>
  Object.fromEntries(
    Object.entries(presetOf(given)?.options ?? {}).filter(([key]) => given[key] === undefined),
  );

/** The options that were given, and those of their preset in the place of what was not. */
export const withPreset = (given: Given): Given => ({ ...given, ...left(given) });

/** What the preset of the options sets, in a line; undefined where there is no preset. */
export function presetLine(given: Given): string | undefined {
  if (!presetOf(given)) return undefined;
  const set = Object.entries(left(given)).map(([key, value]) => `${key} ${value}`);
  return `preset ${given.preset} sets ${set.join(', ') || 'nothing: all that it has is given'}`;
}

/** @throws UserError where the preset learns from a teacher and there is none */
export function assertTaught(preset: PresetName | undefined, teacher: unknown): void {
  if (!preset || !presets[preset].needsTeacher || teacher) return;
  throw new UserError(
    `the preset ${preset} learns from a teacher: give one (--teacher), such as the model before pruning`,
  );
}
