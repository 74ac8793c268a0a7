import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Dim, Graph, Value } from '../graph/graph.ts';
import type { DataType } from '../graph/tensor.ts';
import { type ModelPrecision, quantization } from '../quantize/record.ts';
import type { Engine } from '../runtime/session.ts';
import { isClassifier, type ModelInfo, modelInfo } from '../zoo/model-info.ts';
import type { Format } from './format.ts';
import { type AppSide, type GoldenSample, goldenSample } from './golden-sample.ts';

/** One input or output of a file. */
export interface CardTensor {
  name: string;
  dtype: DataType | null;
  /** A length of `N` is any number of images. */
  shape: Dim[];
}

/**
 * What an app must know of a file and can check itself by: `NAME.json` beside the file `NAME`. The fields are explained in
 * docs/app-files.md.
 */
export interface FileCard {
  /** Of the layout of this document. */
  version: 1;
  format: string;
  /** Who loads it. */
  about: string;
  bytes: number;
  /** Of the file itself, in hexadecimal. */
  sha256: string;
  architecture: string | null;
  precision: ModelPrecision;
  inputs: CardTensor[];
  outputs: CardTensor[];
  /** null for a model that takes something else than one image. */
  image: ImageInput | null;
  /** What the first output is; null where that isn't known. */
  scores: 'logits' | 'probabilities' | 'features' | null;
  classNames: string[] | null;
  golden: (Omit<GoldenSample, 'image'> & { image: CardImage }) | null;
  /** Why there is no golden sample. */
  notes: string[];
}

/** How the image of the first input is prepared. */
export interface ImageInput {
  /** In words, a step each. */
  steps: string[];
  layout: 'NCHW' | 'NHWC';
  channelOrder: 'RGB' | 'grey';
  /** Of a value of the input. */
  range: [least: number, most: number];
  /** Per channel: value = pixel * scale + offset, of pixels of 0 to 255. */
  scale: number[];
  offset: number[];
  preprocessing: Preprocessing;
  /** The model does not say how images are prepared: timm's default was taken. */
  assumed: boolean;
}

export type CardImage = Omit<GoldenSample['image'], 'pixels'> & {
  /** Base64 of the bytes, row by row, the channels of a pixel side by side. */
  pixels: string;
};

/**
 * The card of a file.
 * @param source takes prepared images and gives logits
 * @param written the same as the file takes and gives it
 */
export async function fileCard(
  engine: Engine,
  { source, written, side }: { source: Graph; written: Graph; side: AppSide },
  format: Pick<Format, 'name' | 'about' | 'images'>,
  file: { bytes: number; sha256: string },
): Promise<FileCard> {
  const info = imageModelInfo(source);
  const inputs = written.inputs.filter((value) => !value.isConstant).map((value) => described(value, format));
  const outputs = written.outputs.map((value) => described(value, format));
  const why = whyNoGolden(source, info);
  const golden = info && !why ? await goldenSample(engine, source, info.preprocessing, side) : undefined;
  return {
    version: 1,
    format: format.name,
    about: format.about,
    ...file,
    architecture: info?.architecture ?? null,
    precision: quantization(source)?.dtype ?? 'fp32',
    inputs,
    outputs,
    image: info ? imageInput(info, inputs[0]!, side) : null,
    scores: !info ? null : isClassifier(source) ? side.scores : 'features',
    classNames: info?.classNames ?? null,
    golden: golden
      ? { ...golden, image: { ...golden.image, pixels: btoa(String.fromCharCode(...golden.image.pixels)) } }
      : null,
    notes: why ? [`no golden sample: ${why}`] : [],
  };
}

/** Of a model whose one input is images of known size; undefined for others. */
function imageModelInfo(graph: Graph): ModelInfo | undefined {
  const [images, ...others] = graph.inputs.filter((value) => !value.isConstant);
  if (others.length > 0 || images?.shape?.length !== 4) return undefined;
  const sizes = images.shape.slice(1);
  if (!sizes.every((size) => typeof size === 'number') || (sizes[0] !== 1 && sizes[0] !== 3))
    return undefined;
  const info = modelInfo(graph);
  return `${info.preprocessing.inputSize}` === `${sizes}` ? info : undefined;
}

function whyNoGolden(graph: Graph, info: ModelInfo | undefined): string | undefined {
  if (!info) return 'the model takes something else than one input of images of a fixed size';
  if (!isClassifier(graph) || graph.outputs[0]?.shape?.length !== 2)
    return 'the model gives no scores of classes';
  return undefined;
}

/** As the file has it: formats with their own layout take one prepared image, channels last, in float32. */
function described({ name, dtype, shape }: Value, { images }: Pick<Format, 'images'>): CardTensor {
  const dims: Dim[] = [...(shape ?? [])];
  if (images !== 'one, channels last') return { name, dtype: dtype ?? null, shape: dims };
  const one = dims.map((dim) => (dim === 'N' ? 1 : dim));
  const turned = one.length === 4 && dtype !== 'uint8' ? [0, 2, 3, 1].map((axis) => one[axis]!) : one;
  return { name, dtype: dtype === 'float16' ? 'float32' : (dtype ?? null), shape: turned };
}

function imageInput(
  { preprocessing, preprocessingFrom }: ModelInfo,
  { dtype, shape }: CardTensor,
  side: AppSide,
): ImageInput {
  const { inputSize, mean, std } = preprocessing;
  const pixels = side.input === 'pixels';
  const scale = std.map((deviation) => (pixels ? 1 : 1 / (255 * deviation)));
  const offset = mean.map((center, c) => (pixels ? 0 : -center / std[c]!));
  const layout = shape[1] === inputSize[0] && !pixels ? 'NCHW' : 'NHWC';
  return {
    steps: steps(preprocessing, { layout, dtype, pixels }),
    layout,
    channelOrder: inputSize[0] === 1 ? 'grey' : 'RGB',
    range: [Math.min(...offset), Math.max(...offset.map((least, c) => least + 255 * scale[c]!))],
    scale,
    offset,
    preprocessing,
    assumed: preprocessingFrom === 'assumed',
  };
}

/** What an app does with an image, in order. */
function steps(
  { inputSize: [channels, height, width], mean, std, interpolation, cropPct, cropMode }: Preprocessing,
  { layout, dtype, pixels }: { layout: string; dtype: DataType | null; pixels: boolean },
): string[] {
  const size = `${width} x ${height}`;
  const [w, h] = [Math.floor(width / cropPct), Math.floor(height / cropPct)];
  const resized = {
    center:
      w === h ? `so that its shorter edge has ${w} pixels` : `so that it just covers ${w} x ${h} pixels`,
    squash: `to ${w} x ${h} pixels, whatever its shape`,
    border: `so that it just fits into ${w} x ${h} pixels`,
  }[cropMode];
  const numbers = (values: readonly number[]) => values.map((value) => +value.toPrecision(6)).join(', ');
  return [
    channels === 3
      ? 'Turn the image upright; take red, green and blue, in this order, 0 to 255 each.'
      : 'Turn the image upright; take its grey tones, 0 to 255.',
    `Resize it ${resized} (${interpolation}).`,
    cropMode === 'border'
      ? `Centre it on ${size} pixels of the mean colour ${numbers(mean.map((share) => Math.round(255 * share)))}.`
      : `Cut out the middle, ${size} pixels.`,
    pixels
      ? 'Leave the values as they are: the file normalizes them.'
      : `Divide the values by 255, subtract ${numbers(mean)}, divide by ${numbers(std)}${channels === 3 ? ' (red, green, blue)' : ''}.`,
    layout === 'NHWC'
      ? `Hand over ${dtype}, row by row, the channels of a pixel side by side: [1, ${height}, ${width}, ${channels}].`
      : `Hand over ${dtype}, one channel after the other, each row by row: [1, ${channels}, ${height}, ${width}].`,
  ];
}
