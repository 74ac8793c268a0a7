import { UserError } from '../../common/errors.ts';
import type { Random } from '../../common/random.ts';
import type { RawImage } from '../dataset.ts';
import { rotation, transformed } from './affine.ts';
import * as tones from './tones.ts';

/** How an image is changed. `level`, 0 to 10, says how much; `fill` is the tone of what comes in from outside. */
interface Change {
  /** What the level means to the change; `sign` is 1 or -1, as likely. */
  readonly amount: (level: number, sign: number) => number;
  readonly apply: (image: RawImage, amount: number, fill: readonly number[]) => RawImage;
}

const most = 10;
const none = () => 0;
const around = (largest: number) => (level: number, sign: number) => (sign * level * largest) / most;
const enhancing = (level: number) => (level / most) * 1.8 + 0.1;
const enhancingMore = (level: number, sign: number) => Math.max(0.1, 1 + (sign * level * 0.9) / most);
const upTo = (largest: number) => (level: number) => Math.trunc((level / most) * largest);

const fixed = (apply: (image: RawImage) => RawImage): Change => ({ amount: none, apply });

/** The changes that are the same in both sets of timm. */
const shared = {
  AutoContrast: fixed(tones.autocontrast),
  Equalize: fixed(tones.equalize),
  Invert: fixed(tones.invert),
  Rotate: {
    amount: around(30),
    apply: (image, degrees, fill) => transformed(image, rotation(image, degrees), fill),
  },
  SolarizeAdd: { amount: (level) => Math.min(128, upTo(110)(level)), apply: tones.solarizeAdd },
  ShearX: {
    amount: around(0.3),
    apply: (image, factor, fill) => transformed(image, [1, factor, 0, 0, 1, 0], fill),
  },
  ShearY: {
    amount: around(0.3),
    apply: (image, factor, fill) => transformed(image, [1, 0, 0, factor, 1, 0], fill),
  },
  TranslateXRel: {
    amount: around(0.45),
    apply: (image, share, fill) => transformed(image, [1, 0, share * image.width, 0, 1, 0], fill),
  },
  TranslateYRel: {
    amount: around(0.45),
    apply: (image, share, fill) => transformed(image, [1, 0, 0, 0, 1, share * image.height], fill),
  },
} satisfies Record<string, Change>;

/** Timm's changes of RandAugment by name; those of `increasing` change more the higher the level. */
export const changes: Record<'usual' | 'increasing', Readonly<Record<string, Change>>> = {
  usual: {
    ...shared,
    Posterize: { amount: upTo(4), apply: tones.posterize },
    Solarize: { amount: (level) => Math.min(256, upTo(256)(level)), apply: tones.solarize },
    Color: { amount: enhancing, apply: tones.color },
    Contrast: { amount: enhancing, apply: tones.contrast },
    Brightness: { amount: enhancing, apply: tones.brightness },
    Sharpness: { amount: enhancing, apply: tones.sharpness },
  },
  increasing: {
    ...shared,
    PosterizeIncreasing: { amount: (level) => 4 - upTo(4)(level), apply: tones.posterize },
    SolarizeIncreasing: {
      amount: (level) => 256 - Math.min(256, upTo(256)(level)),
      apply: tones.solarize,
    },
    ColorIncreasing: { amount: enhancingMore, apply: tones.color },
    ContrastIncreasing: { amount: enhancingMore, apply: tones.contrast },
    BrightnessIncreasing: { amount: enhancingMore, apply: tones.brightness },
    SharpnessIncreasing: { amount: enhancingMore, apply: tones.sharpness },
  },
};

/** What timm's `rand-m9-mstd0.5-inc1` says. */
export interface RandAugment {
  /** Level of the changes, 0 to 10. */
  readonly magnitude: number;
  /** Standard deviation of the level. */
  readonly deviation: number;
  /** Changes an image. */
  readonly layers: number;
  /** Probability of each of them. */
  readonly probability: number;
  readonly set: keyof typeof changes;
}

const parts: Record<string, (value: number) => Partial<RandAugment>> = {
  m: (magnitude) => ({ magnitude }),
  n: (layers) => ({ layers }),
  p: (probability) => ({ probability }),
  mstd: (deviation) => ({ deviation }),
  inc: (increasing) => ({ set: increasing ? 'increasing' : 'usual' }),
};

/**
 * Reads a configuration as timm writes it: `rand`, and behind hyphens `m` (magnitude, 10), `n` (layers, 2), `p`
 * (probability, 0.5), `mstd` (deviation of the magnitude, 0), `inc1` (changes that increase with it).
 * @throws UserError on anything else
 */
export function randAugmentOf(text: string): RandAugment {
  const [kind, ...given] = text.split('-');
  let found: RandAugment = { magnitude: most, deviation: 0, layers: 2, probability: 0.5, set: 'usual' };
  const wrong = () =>
    new UserError(
      `augmentation "${text}" is not known: it is like rand-m9-mstd0.5-inc1, of m, n, p, mstd, inc`,
    );
  if (kind !== 'rand') throw wrong();
  for (const part of given) {
    const [, name, value] = /^([a-z]+)([\d.]+)$/.exec(part) ?? [];
    if (!name || !Object.hasOwn(parts, name) || !Number.isFinite(Number(value))) throw wrong();
    found = { ...found, ...parts[name]!(Number(value)) };
  }
  const { magnitude, layers, probability } = found;
  if (magnitude > most || !Number.isInteger(layers) || probability > 1) throw wrong();
  return found;
}

/**
 * RandAugment (Cubuk et al., arXiv 1909.13719) as timm has it: so many changes, each drawn from all and made with its
 * probability. What comes in from outside has the mean tone.
 * @param fill of each channel, 0 to 255
 */
export function randAugmented(
  image: RawImage,
  { magnitude, deviation, layers, probability, set }: RandAugment,
  fill: readonly number[],
  random: Random,
): RawImage {
  const choices = Object.values(changes[set]);
  let changed = image;
  for (let layer = 0; layer < layers; layer++) {
    const { amount, apply } = choices[random.below(choices.length)]!;
    if (random.uniform() >= probability) continue;
    const drawn = deviation > 0 ? magnitude + deviation * random.normal() : magnitude;
    const level = Math.min(most, Math.max(0, drawn));
    changed = apply(changed, amount(level, random.below(2) === 0 ? 1 : -1), fill);
  }
  return changed;
}
