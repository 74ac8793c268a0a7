/** Changes made to each training image by itself. Without any, training images are prepared as for evaluation. */
export interface Augmentation {
  /**
   * `shift`: the evaluation crop, moved by up to `pixels` each way (digits, small images).
   * `resized`: a random part of the image, of `scale` of its area and of an aspect ratio within
   * `ratio`, resized to the input (photographs). Defaults as timm: 0.08 to 1, 3/4 to 4/3.
   */
  readonly crop?:
    | { readonly kind: 'shift'; readonly pixels: number }
    | { readonly kind: 'resized'; readonly scale?: Range; readonly ratio?: Range };
  /** Probability of a mirror image. Leave it out where left and right differ, as for digits. */
  readonly flip?: number;
  /** Changes of RandAugment as timm writes them: `rand-m9-mstd0.5-inc1`. */
  readonly randAugment?: string;
  /** Brightness, contrast and colour are changed at random, by up to this share each, in any order. */
  readonly jitter?: number;
  /** Probability that a random rectangle is replaced. */
  readonly erase?: number;
  /** By noise for each pixel (default), one colour of noise, or the mean colour; as timm's `pixel`, `rand` and `const`. */
  readonly eraseMode?: EraseMode;
}

export const eraseModes = ['pixel', 'rand', 'const'] as const;
export type EraseMode = (typeof eraseModes)[number];

export type Range = readonly [low: number, high: number];
