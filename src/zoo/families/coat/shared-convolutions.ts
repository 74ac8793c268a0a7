import type { Value } from '../../../graph/graph.ts';
import { convolve, convParameters } from '../../layers/convolution.ts';
import { joinImageHeads, splitImageHeads } from '../../layers/image-heads.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { imageToTokens, tokensToImage } from '../../layers/layout.ts';
import { withoutPrefix } from '../../layers/pool.ts';

type Size = readonly [height: number, width: number];

/** A depthwise convolution that keeps the size, for all blocks of a scale; they call it in scopes of their own. */
function sharedConv(layers: Layers, name: string, channels: number, kernel: number): (image: Value) => Value {
  const options = { kernel, padding: Math.floor(kernel / 2), groups: channels };
  const parameters = layers.scope(name, () => convParameters(layers, channels, channels, options));
  return (image) => convolve(layers, image, parameters, options);
}

/** A zero before an axis of tokens, for the class token. */
function withZeroClass(layers: Layers, x: Value, axis: 1 | 2): Value {
  const rank = axis + 2;
  const pads = Array.from({ length: 2 * rank }, (_, i) => (i === axis ? 1 : 0));
  return layers.builder.op('Pad', [x, layers.builder.ints(pads)], {}, 'with_class');
}

/** Tokens `[N, 1 + H*W, C]` and what is near their places; the class token stays as it is. */
export type PositionEncoding = (x: Value) => Value;

export function positionEncoding(
  layers: Layers,
  name: string,
  channels: number,
  size: Size,
): PositionEncoding {
  const depthwise = sharedConv(layers, `${name}.proj`, channels, 3);
  return (x) =>
    layers.scope('cpe', () => {
      const near = depthwise(tokensToImage(layers, withoutPrefix(layers, x, 1), size));
      const tokens = withZeroClass(layers, imageToTokens(layers, near), 1);
      return layers.builder.op('Add', [x, tokens], {}, 'encoded');
    });
}

/** Queries times what is near the values of their places, `[N, heads, 1 + H*W, D]`; 0 for the class token. */
export type RelativeEncoding = (q: Value, v: Value) => Value;

/** @param windows kernels of the convolutions, and how many heads each is for */
export function relativeEncoding(
  layers: Layers,
  name: string,
  headDim: number,
  windows: readonly (readonly [kernel: number, heads: number])[],
  size: Size,
): RelativeEncoding {
  const b = layers.builder;
  const convs = windows.map(([kernel, heads], i) =>
    sharedConv(layers, `${name}.conv_list.${i}`, heads * headDim, kernel),
  );
  const places = (x: Value) =>
    b.op('Slice', [x, b.ints([1]), b.ints([Number.MAX_SAFE_INTEGER]), b.ints([2])], {}, 'places');
  const cut = (image: Value): Value[] => {
    if (windows.length === 1) return [image];
    const channels = b.ints(windows.map(([, heads]) => heads * headDim));
    const parts = b.node('Split', [image, channels], { axis: 1 }, windows.length, 'of_window');
    return windows.map((_, i) => parts.output(i));
  };
  return (q, v) =>
    layers.scope('crpe', () => {
      const near = cut(joinImageHeads(layers, places(v), size)).map((part, i) =>
        layers.scope(`conv_list.${i}`, () => convs[i]!(part)),
      );
      const joined = near.length > 1 ? b.op('Concat', near, { axis: 1 }, 'near') : near[0]!;
      const relative = b.op('Mul', [places(q), splitImageHeads(layers, joined, dimOf(q, 1))], {}, 'relative');
      return withZeroClass(layers, relative, 2);
    });
}
