import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { batchNormHead } from '../../layers/head.ts';
import { Layers } from '../../layers/layers.ts';
import { leanMerging, leanPair, leanResidual, sixteenthStem } from '../../layers/lean-stages.ts';
import { globalPools } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { names, windowedAttention } from './attention.ts';

const known =
  'img_size in_chans num_classes embed_dim key_dim depth num_heads window_size kernels down_ops global_pool';

function efficientVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), ['drop_rate']);
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    embed_dim: read.integers('embed_dim', [64, 128, 192], 8),
    key_dim: read.integers('key_dim', [16, 16, 16]),
    depth: read.integers('depth', [1, 2, 3], 0),
    num_heads: read.integers('num_heads', [4, 4, 4]),
    window_size: read.integers('window_size', [7, 7, 7]),
    /** Of each head, in all stages. */
    kernels: read.integers('kernels', [5, 5, 5, 5]),
    halves: halvings(
      args.down_ops ?? [
        ['', 1],
        ['subsample', 2],
        ['subsample', 2],
      ],
    ),
    global_pool: read.oneOf('global_pool', ['avg', ''], 'avg'),
  };
  const { img_size, embed_dim, key_dim, depth, num_heads, window_size, kernels, halves } = resolved;
  checkStages({ embed_dim, key_dim, depth, num_heads, window_size, down_ops: halves });
  if (img_size[0] !== img_size[1] || img_size[0] % 16 !== 0) {
    throw new UserError(`img_size ${img_size} must be square, and a multiple of 16`);
  }
  if (resolved.global_pool === '' && resolved.num_classes > 0) {
    throw new UserError('global_pool "" needs num_classes 0');
  }
  embed_dim.forEach((width, i) => {
    const heads = num_heads[i]!;
    if (width % heads !== 0) {
      throw new UserError(`${width} channels of stage ${i} are not divisible by its ${heads} heads`);
    }
    if (heads > kernels.length) throw new UserError(`${heads} heads of stage ${i} need as many kernels`);
    if (!halves[i] && width !== embed_dim[Math.max(i - 1, 0)]) {
      throw new UserError(`stage ${i} is of another width: down_ops must be ["subsample", 2] there`);
    }
  });
  return resolved;
}
export type EfficientVitArgs = ReturnType<typeof efficientVitArgs>;

/** Whether each stage begins by halving the image. */
function halvings(value: unknown): readonly boolean[] {
  const wrong = new UserError(
    `down_ops is ${JSON.stringify(value)}; it must be a list of ["", 1] and ["subsample", 2], one a stage`,
  );
  if (!Array.isArray(value)) throw wrong;
  return value.map((pair: unknown) => {
    const [name, stride] = Array.isArray(pair) ? pair : [];
    if (name !== '' && !(name === 'subsample' && stride === 2)) throw wrong;
    return name !== '';
  });
}

/**
 * timm's EfficientVitMsra ("EfficientViT: Memory Efficient Vision Transformer with Cascaded Group Attention", arXiv
 * 2305.07027): between convolutions an attention in windows whose heads follow one another. Output `logits`
 * `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildEfficientVitMsra(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = efficientVitArgs(modelArgs);
  const layers = new Layers('EfficientVitMsra', source);
  const images = layers.images(args.in_chans, args.img_size);
  const places = [1, 2, 3, 4].map((place) => `patch_embed.conv${place}`);
  let x: Value = sixteenthStem(layers, images, args.embed_dim[0]!, places, names);
  args.embed_dim.forEach((width, i) => {
    layers.scope(`stages.${i}`, () => {
      if (args.halves[i]) {
        x = layers.scope('downsample', () => {
          const before = leanPair(layers, x, ['res1.0', 'res1.1'], names);
          return leanPair(
            layers,
            leanMerging(layers, 'patchmerge', before, width, names),
            ['res2.0', 'res2.1'],
            names,
          );
        });
      }
      for (let j = 0; j < args.depth[i]!; j++) {
        x = layers.scope(`blocks.${j}`, () => {
          const before = leanPair(layers, x, ['dw0', 'ffn0'], names, { start: 0 });
          const mixed = leanResidual(layers, 'mixer', before, (y) =>
            windowedAttention(layers, y, {
              heads: args.num_heads[i]!,
              keyWidth: args.key_dim[i]!,
              window: args.window_size[i]!,
              kernels: args.kernels,
            }),
          );
          return leanPair(layers, mixed, ['dw1', 'ffn1'], names, { start: 0 });
        });
      }
    });
  });
  const pooled = globalPools[args.global_pool](layers, x, [2, 3]);
  return layers.finish(batchNormHead(layers, 'head', pooled, args.num_classes));
}
