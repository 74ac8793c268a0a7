import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { readArguments } from '../../arguments.ts';
import { plainAttention } from '../../layers/attention.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import { Layers } from '../../layers/layers.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { tokenPools } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import { preNormBlock } from '../../layers/transformer-block.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';
import { distances, positionalAttention } from './attention.ts';

const known =
  'img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads mlp_ratio qkv_bias hybrid_backbone norm_layer local_up_to_layer locality_strength use_pos_embed';
const withoutEffect = 'drop_rate pos_drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

function conVitArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  if (args.hybrid_backbone != null) throw new UserError('hybrid_backbone is not built here');
  const num_heads = read.integer('num_heads', 12, 1);
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.pair('patch_size', 16),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'token'], 'token'),
    /** timm gives the width of a head. */
    width: read.integer('embed_dim', 768, 1) * num_heads,
    depth: read.integer('depth', 12, 0),
    num_heads,
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', false),
    norm: normSpec('norm_layer', args.norm_layer),
    local_up_to_layer: read.integer('local_up_to_layer', 3, 0),
    locality_strength: read.number('locality_strength', 1),
    use_pos_embed: read.boolean('use_pos_embed', true),
  };
  const { img_size, patch_size, local_up_to_layer } = resolved;
  const grid = img_size.map((size, axis) => size / patch_size[axis]!) as [number, number];
  if (!grid.every(Number.isInteger)) {
    throw new UserError(`img_size ${img_size} is not divisible by patch_size ${patch_size}`);
  }
  if (grid[0] !== grid[1] && local_up_to_layer > 0) {
    throw new UserError(`${grid[0]}x${grid[1]} patches: attention by places needs as many rows as columns`);
  }
  return { ...resolved, grid };
}

const small: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's ConVit ("ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases", arXiv 2103.10697):
 * the first blocks attend to places as well as to patches, and start as convolutions; then a class token joins.
 * Output `logits` `[N, classes]`, the pooled features with `num_classes` 0, all tokens with `global_pool` ''.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildConVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = conVitArgs(modelArgs);
  const layers = new Layers('ConVit', source);
  const { width, num_heads: heads, qkv_bias: qkvBias, norm, grid, num_classes: classes } = args;
  const images = layers.images(args.in_chans, args.img_size);
  let x = patchEmbed(layers, 'patch_embed', images, { patchSize: args.patch_size, width });
  if (args.use_pos_embed) {
    const position = layers.parameter('pos_embed', [1, grid[0] * grid[1], width], small);
    x = layers.builder.op('Add', [x, position], {}, 'positioned');
  }
  const token = layers.parameter('cls_token', [1, 1, width], small);
  const local = Math.min(args.local_up_to_layer, args.depth);
  const apart = local > 0 ? layers.constant('distances', distances(grid[0])) : undefined;
  const localAttention = (y: Value) =>
    layers.scope('attn', () =>
      positionalAttention(layers, y, {
        heads,
        qkvBias,
        distances: apart!,
        localityStrength: args.locality_strength,
      }),
    );
  for (let i = 0; i < args.depth; i++) {
    if (i === args.local_up_to_layer) x = embedTokens(layers, x, [token], undefined);
    x = layers.scope(`blocks.${i}`, () =>
      preNormBlock(layers, x, {
        norm,
        attend: (y) => (i < local ? localAttention(y) : plainAttention(layers, y, heads, qkvBias)),
        feed: (y) => plainMlp(layers, y, Math.trunc(width * args.mlp_ratio)),
      }),
    );
  }
  const pooled = tokenPools[args.global_pool](layers, layers.norm('norm', x, norm));
  return layers.finish(classes > 0 ? layers.linear('head', pooled, classes) : pooled);
}
