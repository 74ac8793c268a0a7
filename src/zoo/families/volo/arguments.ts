import { UserError } from '../../../common/errors.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { type NormSpec, normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known = [
  'img_size in_chans num_classes global_pool patch_size stem_hidden_dim layers embed_dims num_heads downsamples',
  'outlook_attention mlp_ratio qkv_bias norm_layer post_layers use_aux_head pooling_scale',
]
  .join(' ')
  .split(' ');
const withoutEffect = 'drop_rate pos_drop_rate attn_drop_rate drop_path_rate use_mix_token'.split(' ');

/** PyTorch's LayerNorm, timm's default here. */
const torchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };

export type VoloArgs = ReturnType<typeof voloArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm can't run */
export function voloArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const depths = read.integers('layers', [4, 4, 8, 2], 0);
  const switches = (name: string): readonly boolean[] => {
    const list = args[name] ?? depths.map((_, i) => i === 0);
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'boolean')) {
      throw new UserError(`model argument ${name} must be a list of true and false, one a stage`);
    }
    return list;
  };
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['token', 'avg', ''], 'token'),
    patch_size: read.integer('patch_size', 8, 4),
    stem_hidden_dim: read.integer('stem_hidden_dim', 64, 1),
    depths,
    embed_dims: read.integers('embed_dims', [192, 384, 384, 384]),
    num_heads: read.integers('num_heads', [6, 12, 12, 12]),
    downsamples: switches('downsamples'),
    outlook_attention: switches('outlook_attention'),
    mlp_ratio: read.perStage(
      'mlp_ratio',
      depths.map(() => 3),
    ),
    qkv_bias: read.boolean('qkv_bias', false),
    norm: args.norm_layer ? normSpec('norm_layer', args.norm_layer) : torchNorm,
    /** How many blocks of class attention there are. */
    post_layers: postLayers(args.post_layers ?? ['ca', 'ca']),
    use_aux_head: read.boolean('use_aux_head', true),
    pooling_scale: read.integer('pooling_scale', 2, 1),
  };
  const { embed_dims, num_heads, downsamples, outlook_attention, mlp_ratio } = resolved;
  checkStages({ layers: depths, embed_dims, num_heads, downsamples, outlook_attention, mlp_ratio });
  checkHeads(embed_dims, num_heads);
  if (![4, 8, 16].includes(resolved.patch_size)) {
    throw new UserError(`patch_size ${resolved.patch_size} must be 4, 8 or 16`);
  }
  if (resolved.global_pool === '' && resolved.use_aux_head) {
    throw new UserError('global_pool "" leaves all tokens, which has no use_aux_head: set it to false');
  }
  return resolved;
}

function postLayers(value: unknown): number {
  if (!Array.isArray(value) || !value.every((kind) => kind === 'ca')) {
    throw new UserError(`model argument post_layers is ${JSON.stringify(value)}; it must be a list of "ca"`);
  }
  return value.length;
}
