import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { scaledDotProduct } from '../../layers/attention.ts';
import { wholeNorm } from '../../layers/group-norm.ts';
import { batchNormHead } from '../../layers/head.ts';
import { joinImageHeads, splitImageHeads } from '../../layers/image-heads.ts';
import { dimOf, Layers } from '../../layers/layers.ts';
import { leanConv, leanMerging, leanPair, leanResidual, sixteenthStem } from '../../layers/lean-stages.ts';
import { globalPools } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';

const known = 'img_size in_chans num_classes global_pool embed_dim partial_dim qk_dim depth types';

function shVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), ['drop_rate']);
  const types = args.types ?? ['s', 's', 's'];
  if (!Array.isArray(types) || !types.every((type) => type === 's' || type === 'i')) {
    throw new UserError(`types is ${JSON.stringify(types)}; it must be a list of "s" and "i", one a stage`);
  }
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax', ''], 'avg'),
    embed_dim: read.integers('embed_dim', [128, 256, 384], 8),
    partial_dim: read.integers('partial_dim', [32, 64, 96]),
    qk_dim: read.integers('qk_dim', [16, 16, 16]),
    depth: read.integers('depth', [1, 2, 3], 0),
    types: types as readonly ('s' | 'i')[],
  };
  const { embed_dim, partial_dim, qk_dim, depth, global_pool, num_classes } = resolved;
  checkStages({ embed_dim, depth, partial_dim, qk_dim, types });
  if (global_pool === '' && num_classes > 0) throw new UserError('global_pool "" needs num_classes 0');
  const stage = partial_dim.findIndex((part, i) => part >= embed_dim[i]!);
  if (stage >= 0) {
    throw new UserError(
      `partial_dim ${partial_dim[stage]} of stage ${stage} is not less than its ${embed_dim[stage]} channels`,
    );
  }
  return resolved;
}
type ShVitArgs = ReturnType<typeof shVitArgs>;

const names = ['c', 'bn'] as const;

/**
 * timm's SHViT ("SHViT: Single-Head Vision Transformer with Memory Efficient Macro Design", arXiv 2401.16456): blocks
 * of convolutions, and between them one head of attention over a part of the channels. Output `logits`
 * `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildShVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = shVitArgs(modelArgs);
  const layers = new Layers('SHViT', source);
  const places = ['0', '2', '4', '6'].map((place) => `patch_embed.${place}`);
  const images = layers.images(args.in_chans, args.img_size);
  let x = sixteenthStem(layers, images, args.embed_dim[0]!, places, names);
  args.embed_dim.forEach((width, i) => {
    layers.scope(`stages.${i}`, () => {
      if (dimOf(x, 1) !== width) {
        x = layers.scope('downsample', () => {
          const merged = leanMerging(layers, '2', leanPair(layers, x, ['0', '1'], names), width, names);
          return leanPair(layers, merged, ['3', '4'], names);
        });
      }
      for (let j = 0; j < args.depth[i]!; j++) {
        x = layers.scope(`blocks.${j}`, () => block(layers, x, args, i));
      }
    });
  });
  const pooled = globalPools[args.global_pool](layers, x, [2, 3]);
  return layers.finish(batchNormHead(layers, 'head', pooled, args.num_classes, 'l'));
}

/** The attention between the depthwise convolution and the others. */
function block(layers: Layers, image: Value, args: ShVitArgs, i: number): Value {
  const between = (x: Value) =>
    args.types[i] === 's' ? leanResidual(layers, 'mixer', x, (y) => singleHead(layers, y, args, i)) : x;
  return leanPair(layers, image, ['conv', 'ffn'], names, { start: 0, between });
}

/** One head of attention over the first channels; the others join for the projection. */
function singleHead(layers: Layers, x: Value, args: ShVitArgs, i: number): Value {
  const b = layers.builder;
  const [width, size] = [dimOf(x, 1), [dimOf(x, 2), dimOf(x, 3)] as const];
  const [part, keys] = [args.partial_dim[i]!, args.qk_dim[i]!];
  const cut = b.node('Split', [x, b.ints([part, width - part])], { axis: 1 }, 2, 'attended_part');
  const normed = wholeNorm(layers, 'pre_norm', cut.output(0));
  const packed = leanConv(layers, 'qkv', normed, 2 * keys + part, { kernel: 1, names });
  const parts = b.node('Split', [packed, b.ints([keys, keys, part])], { axis: 1 }, 3, 'part');
  const [q, k, v] = [0, 1, 2].map((index) => splitImageHeads(layers, parts.output(index), 1));
  const context = joinImageHeads(layers, scaledDotProduct(layers, q!, k!, v!), size);
  const joined = b.op('Concat', [context, cut.output(1)], { axis: 1 }, 'with_rest');
  const active = layers.scope('proj', () => layers.activation(joined, 'relu'));
  return leanConv(layers, 'proj.1', active, width, { kernel: 1, names }, 0);
}
