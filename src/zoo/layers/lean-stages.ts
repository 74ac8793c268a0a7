import type { Value } from '../../graph/graph.ts';
import { type ConvOptions, convNormAct } from './convolution.ts';
import { dimOf, type Layers } from './layers.ts';
import { reducedChannels, squeezeExcite } from './squeeze-excite.ts';

/**
 * What surrounds the attention in ViTs that are built for speed ("EfficientViT", arXiv 2305.07027, and after it
 * "SHViT", arXiv 2401.16456): an image of `[N, C, H, W]` throughout, BatchNorms, no biases, ReLUs. The two call a
 * convolution and its BatchNorm by other names.
 */
type Names = readonly [conv: string, norm: string];

/** A convolution and its BatchNorm, whose weight starts at `start`. */
export function leanConv(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  { names, ...options }: ConvOptions & { names: Names },
  start = 1,
): Value {
  const norm = { weightInitializer: { kind: 'constant', value: start } } as const;
  return convNormAct(layers, name, x, channels, { ...options, names, norm });
}

/** Four convolutions that halve the image, and double the channels up to `width`; `places` are their names. */
export function sixteenthStem(
  layers: Layers,
  images: Value,
  width: number,
  places: readonly string[],
  names: Names,
): Value {
  return places.reduce((x, place, i) => {
    const channels = Math.floor(width / 2 ** (places.length - 1 - i));
    const halved = leanConv(layers, place, x, channels, { kernel: 3, stride: 2, padding: 1, names });
    return i < places.length - 1 ? layers.scope(place, () => layers.activation(halved, 'relu')) : halved;
  }, images);
}

/** x + body(x), with what is in the body in the scope `NAME.m`. */
export function leanResidual(layers: Layers, name: string, x: Value, body: (x: Value) => Value): Value {
  const branch = layers.scope(`${name}.m`, () => body(x));
  return layers.builder.op('Add', [x, branch], {}, `${name}.residual`);
}

export interface LeanPairOptions {
  /** Where the BatchNorm of the depthwise convolution starts; default 1. */
  start?: number;
  /** What is done between the two. */
  between?(x: Value): Value;
}

/** A depthwise convolution, and two over the channels, each beside the image itself. */
export function leanPair(
  layers: Layers,
  image: Value,
  [local, mixed]: readonly [local: string, mixed: string],
  names: Names,
  { start = 1, between = (x) => x }: LeanPairOptions = {},
): Value {
  const width = dimOf(image, 1);
  const depthwise = { kernel: 3, padding: 1, groups: width, names };
  const near = leanConv(layers, `${local}.m`, image, width, depthwise, start);
  const x = between(layers.builder.op('Add', [image, near], {}, `${local}.residual`));
  return leanResidual(layers, mixed, x, (y) => {
    const hidden = leanConv(layers, 'pw1', y, 2 * width, { kernel: 1, names });
    return leanConv(layers, 'pw2', layers.activation(hidden, 'relu'), width, { kernel: 1, names }, 0);
  });
}

/** Half the image in another width, by an inverted bottleneck. */
export function leanMerging(layers: Layers, name: string, x: Value, width: number, names: Names): Value {
  const hidden = 4 * dimOf(x, 1);
  const strided = { kernel: 3, stride: 2, padding: 1, groups: hidden, names };
  return layers.scope(name, () => {
    const wide = layers.activation(leanConv(layers, 'conv1', x, hidden, { kernel: 1, names }), 'relu');
    const halved = layers.activation(leanConv(layers, 'conv2', wide, hidden, strided), 'relu');
    const excited = squeezeExcite(layers, 'se', halved, { reduced: reducedChannels(hidden, 1 / 4) });
    return leanConv(layers, 'conv3', excited, width, { kernel: 1, names });
  });
}
