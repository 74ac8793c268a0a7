import { Random } from '../common/random.ts';
import type { RawImage } from '../dataset/dataset.ts';
import { createNormalizer } from '../dataset/pixels.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { castTensors } from '../quantize/cast.ts';
import { quantization } from '../quantize/record.ts';
import { fixedBatches } from '../runtime/fixed-batch.ts';
import { runInParts } from '../runtime/run-in-parts.ts';
import { type Engine, runOnce, type Tensors } from '../runtime/session.ts';

/** What an app hands to a file, and gives for it, of what it may compute itself or leave to the file. */
export interface AppSide {
  readonly input: 'normalized' | 'pixels';
  readonly scores: 'logits' | 'probabilities';
}

/**
 * An image of few pixels and what the model must make of it. Enlarged to the size of the input without interpolation: pixel
 * (x, y) of the input is pixel (floor(x * width / W), floor(y * height / H)) of the image.
 */
export interface GoldenSample {
  readonly image: {
    readonly width: number;
    readonly height: number;
    readonly channels: 1 | 3;
    /** Bytes row by row, the channels of a pixel side by side. */
    readonly pixels: Uint8Array;
  };
  /** The highest first. */
  readonly top5: readonly { readonly index: number; readonly score: number }[];
  /** How far each of these scores may be off: another engine rounds otherwise. */
  readonly tolerance: number;
  /** Mistakes in an app's preparation that move one of the scores further than that. */
  readonly catches: readonly string[];
}

/** Share of the largest logit that another engine's may be off by: measured, with room (docs/app-files.md). */
const tolerances = { fp32: 1e-3, fp16: 1e-2, int8: 5e-2, int4: 5e-2 };

/** The image has so many pixels an edge, as many tiles in the input. */
const tiles = 8;
/** So many images are tried until one tells every mistake. */
const attempts = 3;

type Pixels = Pick<RawImage, 'width' | 'height' | 'channels' | 'data'>;

/**
 * The golden sample of a classifier that takes one image a row and gives `[N, scores]`; the one of a few random images that tells
 * most mistakes.
 * @param graph takes prepared images, gives logits
 */
export async function goldenSample(
  engine: Engine,
  graph: Graph,
  preprocessing: Preprocessing,
  side: AppSide,
): Promise<GoldenSample> {
  let best: GoldenSample | undefined;
  for (let seed = 0; seed < attempts; seed++) {
    const image = randomTiles(preprocessing, seed);
    const large = enlarged(image, preprocessing);
    const slips = mistakes(large, preprocessing, side);
    const right = normalized(large, preprocessing);
    const [scores, ...slipped] = await logitsOf(engine, graph, preprocessing, [
      right,
      ...slips.map((slip) => slip.floats),
    ]);
    const { top5, tolerance } = expectation(scores!, tolerances[quantization(graph)?.dtype ?? 'fp32'], side);
    const off = (found: Float32Array) => {
      const given = side.scores === 'logits' ? found : softmax(found);
      return top5.some(({ index, score }) => !(Math.abs(given[index]! - score) <= tolerance));
    };
    const catches = slips.filter((_, i) => off(slipped[i]!)).map(({ name }) => name);
    const pixels = image.data as Uint8Array;
    const sample = {
      image: { width: image.width, height: image.height, channels: preprocessing.inputSize[0], pixels },
      top5,
      tolerance,
      catches,
    };
    if (!best || catches.length > best.catches.length) best = sample;
    if (catches.length === slips.length) break;
  }
  return best!;
}

function randomTiles({ inputSize: [channels, height, width] }: Preprocessing, seed: number): Pixels {
  const random = new Random(seed);
  const [w, h] = [Math.min(tiles, width), Math.min(tiles, height)];
  return {
    width: w,
    height: h,
    channels,
    data: Uint8Array.from({ length: w * h * channels }, () => random.below(256)),
  };
}

/** At the size of the input, each pixel repeated. */
export function enlarged(
  { width, height, channels, data }: Pixels,
  { inputSize }: Pick<Preprocessing, 'inputSize'>,
): Pixels {
  const [, H, W] = inputSize;
  const large = new Uint8Array(H * W * channels);
  for (let y = 0, to = 0; y < H; y++) {
    for (let x = 0; x < W; x++, to += channels) {
      const from = (Math.floor((y * height) / H) * width + Math.floor((x * width) / W)) * channels;
      for (let c = 0; c < channels; c++) large[to + c] = data[from + c]!;
    }
  }
  return { width: W, height: H, channels, data: large };
}

/** `[C, H, W]` as the model takes it. */
function normalized(image: Pixels, preprocessing: Preprocessing): Float32Array {
  const floats = new Float32Array(image.data.length);
  createNormalizer(preprocessing).write(image, 0, 0, false, floats);
  return floats;
}

/** What apps get wrong, as the model's input would then be; only what can go wrong with such a file. */
function mistakes(
  image: Pixels,
  preprocessing: Preprocessing,
  { input }: AppSide,
): { name: string; floats: Float32Array }[] {
  const { channels, data } = image;
  const area = data.length / channels;
  const moved = (name: string, from: (pixel: number, channel: number) => number) => {
    const changed = data.map((_, i) => data[from(Math.floor(i / channels), i % channels)]!);
    return { name, floats: normalized({ ...image, data: changed }, preprocessing) };
  };
  const plain = (name: string, std: number) => {
    const each = (value: number) => preprocessing.mean.map(() => value);
    return { name, floats: normalized(image, { ...preprocessing, mean: each(0), std: each(std) }) };
  };
  return [
    ...(channels === 3
      ? [
          moved('channels in the order BGR', (pixel, channel) => pixel * 3 + 2 - channel),
          moved(
            'channels apart where they belong side by side, or the reverse',
            (pixel, channel) => channel * area + pixel,
          ),
        ]
      : []),
    ...(input === 'normalized'
      ? [plain('values of 0 to 1, not normalized', 1), plain('values of 0 to 255, not scaled', 1 / 255)]
      : []),
  ];
}

/**
 * Scores of prepared images. int8 activations have a range for all that runs together: each image is then alone, as it is in an
 * app, since one whose values were left at 0 to 255 would leave a right one beside it nothing.
 */
async function logitsOf(
  engine: Engine,
  graph: Graph,
  preprocessing: Preprocessing,
  images: readonly Float32Array[],
): Promise<Float32Array[]> {
  const isInteger = quantization(graph)?.dtype === 'int8';
  const run = (feeds: Tensors) =>
    isInteger ? runOnce(engine, graph, feeds) : runInParts(engine, graph, feeds);
  const rows: Float32Array[] = [];
  for (const together of isInteger ? images.map((image) => [image]) : [images]) {
    rows.push(...(await logitsTogether(engine, graph, preprocessing, together, run)));
  }
  return rows;
}

/** Of images in one batch, or in as many as the model takes at a time. */
async function logitsTogether(
  engine: Engine,
  graph: Graph,
  { inputSize }: Preprocessing,
  images: readonly Float32Array[],
  run: (feeds: Tensors) => Promise<Tensors>,
): Promise<Float32Array[]> {
  const [input] = graph.inputs.filter((value) => !value.isConstant);
  const { name, dtype, shape } = input!;
  const all = new Float32Array(images.length * images[0]!.length);
  for (const [i, image] of images.entries()) all.set(image, i * image.length);
  const pixels = Tensor.float32([images.length, ...inputSize], all);
  const rows: Float32Array[] = [];
  for (const { batch, images: count } of fixedBatches(pixels, shape?.[0])) {
    const feeds = { [name]: dtype === 'float16' ? (await castTensors(engine, [batch], dtype))[0]! : batch };
    const found = await run(feeds);
    const scores = found[graph.outputs[0]!.name]!;
    const { floats } =
      scores.dtype === 'float32' ? scores : (await castTensors(engine, [scores], 'float32'))[0]!;
    const length = floats.length / batch.shape[0]!;
    for (let row = 0; row < count; row++) rows.push(floats.slice(row * length, (row + 1) * length));
  }
  return rows;
}

/** The five best, and how far they may be off when each logit is off by `share` of the largest. */
function expectation(
  logits: Float32Array,
  share: number,
  { scores }: AppSide,
): Pick<GoldenSample, 'top5' | 'tolerance'> {
  const largest = logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
  const off = share * largest;
  const given = scores === 'logits' ? logits : softmax(logits);
  const top5 = [...given.keys()]
    .sort((a, b) => given[b]! - given[a]! || a - b)
    .slice(0, 5)
    .map((index) => ({ index, score: given[index]! }));
  // A probability is furthest off when its logit is off one way and all the others the other way.
  const shifted = (p: number) => (p * Math.exp(2 * off)) / (1 - p + p * Math.exp(2 * off)) - p;
  const tolerance =
    scores === 'logits'
      ? off
      : Math.max(...top5.map(({ score }) => Math.max(shifted(score), shifted(1 - score))));
  return { top5, tolerance: Math.max(tolerance, 1e-6) };
}

/** Shares of one, of logits. */
export function softmax(logits: Float32Array): Float32Array {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
