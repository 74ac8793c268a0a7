import { UserError } from '../../../common/errors.ts';
import type { Graph, Value } from '../../../graph/graph.ts';
import { checkHeads, readArguments } from '../../arguments.ts';
import { attention, valuesApart } from '../../layers/attention.ts';
import { conv } from '../../layers/convolution.ts';
import type { NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, Layers, lastDim } from '../../layers/layers.ts';
import { channelsLast, imageToTokens, tokensToImage, windowPartition } from '../../layers/layout.ts';
import { plainMlp } from '../../layers/mlp.ts';
import { tokenPools } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { Initializer, ParameterSource } from '../../parameter-source.ts';

const known =
  'img_size patch_size in_chans num_classes global_pool embed_dim inner_dim depth num_heads_inner num_heads_outer mlp_ratio qkv_bias first_stride legacy';
const withoutEffect = 'drop_rate pos_drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

function tntArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.pair('patch_size', 16),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'token', 'avg'], 'token'),
    embed_dim: read.integer('embed_dim', 768, 1),
    inner_dim: read.integer('inner_dim', 48, 1),
    depth: read.integer('depth', 12, 0),
    num_heads_inner: read.integer('num_heads_inner', 4, 1),
    num_heads_outer: read.integer('num_heads_outer', 12, 1),
    mlp_ratio: read.number('mlp_ratio', 4),
    qkv_bias: read.boolean('qkv_bias', false),
    first_stride: read.integer('first_stride', 4, 1),
    legacy: read.boolean('legacy', false),
  };
  const { img_size, patch_size, first_stride, embed_dim, inner_dim } = resolved;
  checkHeads([inner_dim, embed_dim], [resolved.num_heads_inner, resolved.num_heads_outer]);
  if (img_size.some((size, axis) => size % patch_size[axis]! !== 0)) {
    throw new UserError(`img_size ${img_size} is not divisible by patch_size ${patch_size}`);
  }
  if (resolved.legacy && patch_size.some((size) => size % first_stride !== 0)) {
    throw new UserError(`patch_size ${patch_size} is not divisible by first_stride ${first_stride}`);
  }
  return resolved;
}
type TntArgs = ReturnType<typeof tntArgs>;

const norm: NormSpec = { kind: 'layer', epsilon: 1e-5 };
const position: Initializer = { kind: 'normal', std: 0.02 };

/**
 * timm's TNT ("Transformer in Transformer", arXiv 2103.00112): inside of each patch a transformer of its pixels,
 * which tells a transformer of the patches what it has seen. Output `logits` `[N, classes]`, the pooled features with
 * `num_classes` 0, all tokens with `global_pool` ''.
 * @throws UserError on arguments the class does not have or can't combine
 */
export function buildTnt(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = tntArgs(modelArgs);
  const layers = new Layers('TNT', source);
  const { embed_dim: width, num_classes: classes } = args;
  const patches = args.img_size.reduce((count, size, axis) => (count * size) / args.patch_size[axis]!, 1);
  let pixels = embedPixels(layers, layers.images(args.in_chans, args.img_size), args);
  const flat = layers.norm('norm1_proj', patchRows(layers, pixels, patches), norm);
  const projected = layers.norm('norm2_proj', layers.linear('proj', flat, width), norm);
  const token = layers.parameter('cls_token', [1, 1, width], position);
  const positions = layers.parameter('patch_pos', [1, patches + 1, width], position);
  let x = embedTokens(layers, projected, [token], positions);
  for (let i = 0; i < args.depth; i++) {
    layers.scope(`blocks.${i}`, () => {
      pixels = innerBlock(layers, pixels, args);
      x = outerBlock(layers, tellPatches(layers, x, pixels, args), args);
    });
  }
  const pooled = tokenPools[args.global_pool](layers, layers.norm('norm', x, norm));
  return layers.finish(classes > 0 ? layers.linear('head', pooled, classes) : pooled);
}

/** The pixels of each patch, `[N * patches, pixels, inner_dim]`; those of a legacy model see beyond their patch. */
function embedPixels(layers: Layers, images: Value, args: TntArgs): Value {
  const { patch_size, first_stride: stride, inner_dim } = args;
  const size = patch_size.map((length) => Math.ceil(length / stride)) as [number, number];
  const embed = (x: Value) =>
    conv(layers, 'pixel_embed.proj', x, inner_dim, { kernel: 7, padding: 3, stride });
  const pixels = args.legacy
    ? windowPartition(layers, channelsLast(layers, embed(images)), size)
    : imageToTokens(
        layers,
        embed(
          tokensToImage(
            layers,
            windowPartition(layers, channelsLast(layers, images), patch_size),
            patch_size,
          ),
        ),
      );
  const places = layers.parameter('pixel_pos', [1, inner_dim, ...size], position);
  return layers.builder.op('Add', [pixels, imageToTokens(layers, places, 'pixel_places')], {}, 'pixels');
}

/** `[N * patches, pixels, C] -> [N, patches, pixels * C]`. */
function patchRows(layers: Layers, pixels: Value, patches: number): Value {
  const b = layers.builder;
  const row = dimOf(pixels, 1) * lastDim(pixels);
  return b.op('Reshape', [pixels, b.ints([-1, patches, row])], {}, 'patch_rows');
}

const attend = (layers: Layers, name: string, x: Value, heads: number, { qkv_bias }: TntArgs): Value =>
  layers.scope(name, () =>
    attention(layers, x, {
      heads,
      qkvBias: qkv_bias,
      projBias: true,
      qkNorm: undefined,
      scaleNorm: undefined,
      project: valuesApart(),
    }),
  );

function innerBlock(layers: Layers, x: Value, args: TntArgs): Value {
  const b = layers.builder;
  const normed = layers.norm('norm_in', x, norm);
  const attended = attend(layers, 'attn_in', normed, args.num_heads_inner, args);
  const middle = b.op('Add', [x, attended], {}, 'inner_residual1');
  const fed = plainMlp(layers, layers.norm('norm_mlp_in', middle, norm), 4 * lastDim(x), 'gelu', 'mlp_in');
  return b.op('Add', [middle, fed], {}, 'inner_residual2');
}

/** What the pixels of each patch say is added to its token; the class token has none. */
function tellPatches(layers: Layers, x: Value, pixels: Value, args: TntArgs): Value {
  const b = layers.builder;
  const [patches, width] = [dimOf(x, 1) - 1, args.embed_dim];
  const told = args.legacy
    ? layers.linear('proj', patchRows(layers, layers.norm('norm1_proj', pixels, norm), patches), width)
    : layers.norm(
        'norm2_proj',
        layers.linear('proj', layers.norm('norm1_proj', patchRows(layers, pixels, patches), norm), width, {
          bias: false,
        }),
        norm,
      );
  const padded = b.op('Pad', [told, b.ints([0, 1, 0, 0, 0, 0])], {}, 'told_padded');
  return b.op('Add', [x, padded], {}, 'told');
}

function outerBlock(layers: Layers, x: Value, args: TntArgs): Value {
  const b = layers.builder;
  const normed = layers.norm('norm_out', x, norm);
  const attended = attend(layers, 'attn_out', normed, args.num_heads_outer, args);
  const middle = b.op('Add', [x, attended], {}, 'residual1');
  const fed = plainMlp(
    layers,
    layers.norm('norm_mlp', middle, norm),
    Math.trunc(lastDim(x) * args.mlp_ratio),
  );
  return b.op('Add', [middle, fed], {}, 'residual2');
}
