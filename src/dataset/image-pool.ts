import type { Augmentation } from './augmentation.ts';
import type { Preprocessing } from './preprocessing.ts';

/** What becomes of training images. */
export interface Preparation {
  readonly preprocessing: Preprocessing;
  readonly augment: Augmentation;
}

/** Threads that read, decode and change training images, the same bits whatever their number. */
export interface ImagePool {
  readonly threads: number;
  /**
   * An image of the split as normalized `[C, H, W]` floats.
   * @param keys name the stream of random numbers that its changes are drawn from
   * @throws Error when the image can't be read, UserError when none can
   */
  prepare(index: number, keys: readonly number[]): Promise<Float32Array>;
  /** Ends the threads; what they have not begun rejects. */
  close(): Promise<void>;
}
