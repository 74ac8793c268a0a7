import type { Card, CardTiles } from '../export/card-schema.ts';
import type { ModelPrecision } from '../quantize/record.ts';
import type { Expectation } from './judge.ts';
import type { InputForm } from './model-input.ts';

/** A file that devices are given to measure. */
export interface Variant {
  /** In addresses and messages; says nothing of where the file lies. */
  readonly id: string;
  /** What it is, as stages are named: `dense`, `int8`; the file's name for one without a run. */
  readonly name: string;
  /** For people, where several runs are measured: `mine: int8`. */
  readonly title: string;
  readonly path: string;
  /** As reports name it: relative to the run, or as it was given. */
  readonly file: string;
  /** The run whose report gets the results. */
  readonly run: string | undefined;
  readonly format: 'onnx' | 'tflite';
  readonly precision: ModelPrecision;
  readonly bytes: number;
  /** Of the file when it was listed, in hexadecimal. */
  readonly sha256: string;
  /** The stage's file that it was written from, where it was written for the lab. */
  readonly madeFrom?: { readonly file: string; readonly sha256: string };
  readonly input: InputForm;
  readonly output: string;
  readonly classNames: readonly string[] | null;
  /** What the output is: `logits`, `probabilities`, `features`. */
  readonly scores: string | null;
  /** How pictures meet the input's shape. */
  readonly fit: Fit;
  /** What it is tried on. */
  readonly samples: readonly CardTiles[];
  /** null where nothing is known of what it must give. */
  readonly expectation: Expectation | null;
}

/** As timm crops: the picture resized to the input's size over `cropPct`, then cut. */
export interface Fit {
  readonly cropPct: number;
  readonly cropMode: 'center' | 'squash' | 'border';
}

/** Values of an input at most, whatever a card says. */
const mostPixels = 2 ** 26;

/** How the file takes an image; a text says why a browser can't be given one. */
export function inputForm({ image, inputs }: Card): InputForm | string {
  const [{ name, dtype, shape } = { name: '', dtype: null, shape: [] }, ...others] = inputs;
  if (!image || others.length > 0) return 'it takes something else than one image';
  if (dtype !== 'float32' && dtype !== 'uint8') return `its input is ${dtype ?? 'of an unknown type'}`;
  const dims = shape.map((length, axis) => (axis === 0 && typeof length === 'string' ? 1 : Number(length)));
  const size = image.preprocessing.inputSize;
  if (size.reduce((product, one) => product * one, 1) > mostPixels)
    return 'its input is larger than any picture';
  if (image.scale.length !== size[0] || image.offset.length !== size[0]) return 'its card does not fit it';
  const [, ...rest] = dims;
  const laidOut = image.layout === 'NCHW' ? size : [size[1], size[2], size[0]];
  if (`${rest}` !== `${laidOut}`) return `its input is ${shape.join(' x ')}`;
  if (dims[0] !== 1) return `it takes ${dims[0]} images at once`;
  return { name, dtype, shape: dims, layout: image.layout, size, scale: image.scale, offset: image.offset };
}
