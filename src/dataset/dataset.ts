import type { Tensor } from '../graph/tensor.ts';
import type { ImagePool, Preparation } from './image-pool.ts';
import type { Interpolation } from './preprocessing.ts';

/** A decoded image: 8 bits a channel, rows from the top, `data[(y * width + x) * channels + c]`. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  /** 1: grey; 3: red, green, blue. */
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
  /** What of an image this is, where it is not the whole. */
  readonly view?: View;
}

/** A rectangle of pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A part of an image, resized to `width` x `height`. */
export interface View {
  readonly box: Box;
  readonly width: number;
  readonly height: number;
  readonly interpolation: Interpolation;
}

/** Chooses what is to be seen of an image, once its size is known. */
export type Viewer = (size: Pick<RawImage, 'width' | 'height'>) => View | undefined;

/** Where the encoded bytes of an image lie: a file, or a part of one. */
export interface ImageLocation {
  readonly path: string;
  readonly offset?: number;
  readonly size?: number;
}

/** Labelled images in a fixed order. Nothing is read before `read` is called, and nothing is kept. */
export interface Split {
  /** For messages: the folder, or the data set and its part. */
  readonly name: string;
  readonly length: number;
  /** Class index, a position in `Dataset.classes`. */
  label(index: number): number;
  /** A name a person can find the image by: the file's path inside the data set, or digit and number. */
  id(index: number): string;
  /**
   * Decodes one image. Rejects when it can't be read; the loader decides what that means. A UserError says
   * that no image can be, and ends the pass.
   * @param viewer asks for a part of the image, resized, where giving that is quicker than giving the whole; which of
   *   the two it was, `view` of the result says
   */
  read(index: number, viewer?: Viewer): Promise<RawImage>;
  /**
   * An image as it is stored: where its encoded bytes lie, or the bytes where they are no plain part of a file. Left
   * out by splits whose images aren't encoded.
   */
  source?(index: number): Promise<ImageLocation | Uint8Array>;
  /** Starts threads that prepare its images; left out by splits that have nothing to decode. */
  pool?(threads: number, preparation: Preparation): ImagePool;
}

export interface Dataset {
  readonly name: string;
  readonly classes: readonly string[];
  readonly train: Split;
  /** The held-out images, on which accuracy is measured. */
  readonly val: Split;
  /** Whether those are a test set, by which nothing may be chosen. */
  readonly isTest?: boolean;
  /** What is to be said of how it was read: what was left out or held out, a line each. */
  readonly notes?: readonly string[];
  /** What changes when the content does, found without reading it: names, sizes and times of the files. */
  version?(): Promise<string>;
}

/** What a model takes for a step: normalized pixels and what they show. */
export interface Batch {
  /** float32 `[N, C, H, W]`. */
  readonly pixels: Tensor;
  /** int64 `[N]`. */
  readonly labels: Tensor;
  /** float32 `[N, classes]`: label distributions, when mixing or label smoothing asks for them. */
  readonly targets?: Tensor;
  readonly ids: readonly string[];
}
