import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { Tensor } from '../../../graph/tensor.ts';
import { bounded } from '../../bounded.ts';
import { conv } from '../../layers/convolution.ts';
import { classifierHead } from '../../layers/head.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { resample } from '../../layers/resample.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';
import { type HieraArgs, hieraArgs } from './arguments.ts';
import { type Arrangement, type BlockPlan, block } from './block.ts';
import { linearStart, patchStart } from './start.ts';

type Size = readonly [height: number, width: number];

const positionStart: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's Hiera ("Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", arXiv 2306.00989), for
 * images: tokens lie by windows from the start, so that windows and pools are nothing but parts of an axis. Output
 * `logits` `[N, classes]`, the normed features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildHiera(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = hieraArgs(modelArgs);
  const layers = new Layers('Hiera', source, linearStart(args));
  const b = layers.builder;
  const image = layers.scope('patch_embed', () =>
    conv(layers, 'proj', layers.images(args.in_chans, args.img_size), args.embed_dim, {
      kernel: args.patch_kernel,
      stride: args.patch_stride,
      padding: args.patch_padding,
      ...patchStart(args),
    }),
  );
  const size = args.img_size.map((length, axis) =>
    Math.floor(length / args.patch_stride[axis]!),
  ) as unknown as Size;
  if (dimOf(image, 2) !== size[0] || dimOf(image, 3) !== size[1]) {
    throw new UserError(`patches of ${args.patch_kernel} make an image of another size than ${size}`);
  }
  const patches = imageToTokens(layers, image, 'patches');
  const embedded = b.op('Add', [patches, positions(layers, args, size)], {}, 'embedded');

  const unit = args.mask_unit_size[0] * args.mask_unit_size[1];
  let tokens: Arrangement = { windows: (size[0] * size[1]) / unit, inWindow: unit };
  const order = layers.constant('order', Tensor.int64(tokenOrder(args, size, tokens), [size[0] * size[1]]));
  let x = b.op('Gather', [embedded, order], { axis: 1 }, 'unrolled');
  plans(args).forEach((plan, i) => {
    x = layers.scope(`blocks.${i}`, () => block(layers, x, tokens, args, plan));
    tokens = { ...tokens, inWindow: tokens.inWindow / plan.pooled };
  });
  return layers.finish(
    classifierHead(layers, 'head', args.global_pool ? x : timmOrder(layers, x, tokens), {
      classes: args.num_classes,
      pool: args.global_pool,
      axes: [1],
      norm: args.norm,
    }),
  );
}

function positions(layers: Layers, args: HieraArgs, size: Size): Value {
  const { embed_dim: width, mask_unit_size: unit, global_pos_size } = args;
  const b = layers.builder;
  if (!args.abs_win_pos_embed) {
    return layers.parameter('pos_embed', [1, size[0] * size[1], width], positionStart);
  }
  const everywhere = layers.parameter('pos_embed', [1, width, ...global_pos_size], positionStart);
  const inWindow = layers.parameter('pos_embed_win', [1, width, ...unit], positionStart);
  const whole = layers.scope('pos_embed', () => resample(layers, everywhere, size, 'bicubicSmooth'));
  const place = Array.from({ length: bounded(size[0] * size[1]) }, (_, token) => {
    const [row, column] = [Math.floor(token / size[1]), token % size[1]];
    return (row % unit[0]) * unit[1] + (column % unit[1]);
  });
  const index = layers.constant('place_in_window', Tensor.int64(place, [place.length]));
  const tiled = b.op(
    'Gather',
    [imageToTokens(layers, inWindow, 'window_positions'), index],
    { axis: 1 },
    'window_positions_tiled',
  );
  return b.op('Add', [imageToTokens(layers, whole, 'global_positions'), tiled], {}, 'positions');
}

/**
 * The pixels of tokens that are ordered by window, and in a window so that what is pooled together first is a
 * multiple of a quarter apart, then what is pooled next. timm's `Unroll`, with the windows outside instead of inside.
 */
function tokenOrder(
  { q_stride, stages }: HieraArgs,
  size: Size,
  { windows, inWindow }: Arrangement,
): number[] {
  let pixels = Array.from({ length: bounded(size[0] * size[1]) }, (_, i) => i);
  let [rows, columns] = size;
  for (let step = 1; step < stages.length; step++) {
    const from = pixels;
    [rows, columns] = [rows / q_stride[0], columns / q_stride[1]];
    const area = rows * columns;
    const parts = q_stride[0] * q_stride[1];
    pixels = from.map((_, to) => {
      const [part, inImage] = [Math.floor(to / area), to % area];
      const [image, offset] = [Math.floor(part / parts), part % parts];
      const row = Math.floor(inImage / columns) * q_stride[0] + Math.floor(offset / q_stride[1]);
      const column = (inImage % columns) * q_stride[1] + (offset % q_stride[1]);
      return from[image * parts * area + row * columns * q_stride[1] + column]!;
    });
  }
  return pixels.map((_, i) => pixels[(i % inWindow) * windows + Math.floor(i / inWindow)]!);
}

/** Tokens `[N, T, C]` with the windows inside again, as timm leaves them. */
function timmOrder(layers: Layers, x: Value, { windows, inWindow }: Arrangement): Value {
  if (inWindow === 1) return x;
  const b = layers.builder;
  const boxed = b.op('Reshape', [x, b.ints([0, windows, inWindow, -1])], {}, 'by_window');
  const turned = b.op('Transpose', [boxed], { perm: [0, 2, 1, 3] }, 'windows_inside');
  return b.op('Reshape', [turned, b.ints([0, windows * inWindow, -1])], {}, 'tokens');
}

/** The blocks: the first of a stage widens and pools, and attends as the stage before it did. */
function plans(args: HieraArgs): BlockPlan[] {
  let [width, heads] = [args.embed_dim, args.num_heads];
  return args.stages.flatMap((depth, stage) =>
    Array.from({ length: bounded(depth) }, (_, i): BlockPlan => {
      const first = stage > 0 && i === 0;
      const before = width;
      if (first) [width, heads] = [Math.trunc(width * args.dim_mul), Math.trunc(heads * args.head_mul)];
      if (width % heads !== 0) {
        throw new UserError(`${width} channels of stage ${stage} are not divisible by its ${heads} heads`);
      }
      const pooled = first && stage <= args.q_pool ? args.q_stride[0] * args.q_stride[1] : 1;
      if (pooled > 1 && width === before) {
        throw new UserError(
          `dim_mul ${args.dim_mul} does not widen, so tokens can't be pooled between stages`,
        );
      }
      return { width, heads, pooled, windowed: args.mask_unit_attn[first ? stage - 1 : stage]! };
    }),
  );
}
