import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

const known = [
  'img_size in_chans embed_dim num_heads num_classes global_pool stages q_pool q_stride mask_unit_size',
  'mask_unit_attn use_expand_proj dim_mul head_mul patch_kernel patch_stride patch_padding mlp_ratio init_values',
  'fix_init weight_init norm_layer head_init_scale sep_pos_embed abs_win_pos_embed global_pos_size',
]
  .join(' ')
  .split(' ');
const withoutEffect = ['drop_path_rate', 'drop_rate', 'patch_drop_rate'];

const product = ([a, b]: readonly [number, number]) => a * b;

export type HieraArgs = ReturnType<typeof hieraArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm can't run */
export function hieraArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const stages = read.integers('stages', [2, 3, 16, 3]);
  const resolved = {
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    embed_dim: read.integer('embed_dim', 96, 1),
    num_heads: read.integer('num_heads', 1, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'max', 'avgmax'], 'avg'),
    stages,
    q_pool: read.integer('q_pool', 3, 0),
    q_stride: read.pair('q_stride', 2),
    mask_unit_size: read.pair('mask_unit_size', 8),
    mask_unit_attn: maskUnitStages(args.mask_unit_attn ?? [true, true, false, false], stages.length),
    use_expand_proj: read.boolean('use_expand_proj', true),
    dim_mul: read.number('dim_mul', 2),
    head_mul: read.number('head_mul', 2),
    patch_kernel: read.pair('patch_kernel', 7),
    patch_stride: read.pair('patch_stride', 4),
    patch_padding: read.pair('patch_padding', 3),
    mlp_ratio: read.number('mlp_ratio', 4),
    init_values: args.init_values == null ? undefined : read.number('init_values', 0),
    fix_init: read.boolean('fix_init', true),
    weight_init: read.oneOf('weight_init', ['', 'jax', 'skip'], ''),
    norm: normSpec('norm_layer', args.norm_layer),
    head_init_scale: read.number('head_init_scale', 0.001),
    abs_win_pos_embed: read.boolean('abs_win_pos_embed', false),
    global_pos_size: read.pair('global_pos_size', 14),
  };
  if (read.boolean('sep_pos_embed', false)) {
    throw new UserError('sep_pos_embed is for videos: this is a model of images');
  }
  checkGeometry(resolved);
  return resolved;
}

type Geometry = Pick<
  HieraArgs,
  'img_size' | 'patch_stride' | 'stages' | 'q_pool' | 'q_stride' | 'mask_unit_size'
>;

/** Which stages attend within mask units. */
function maskUnitStages(value: unknown, stages: number): readonly boolean[] {
  if (!Array.isArray(value) || value.length < stages || !value.every((item) => typeof item === 'boolean')) {
    throw new UserError(`mask_unit_attn must be a list of true and false for each of ${stages} stages`);
  }
  return value;
}

function checkGeometry(args: Geometry): void {
  const { img_size, patch_stride, stages, q_pool, q_stride, mask_unit_size } = args;
  const steps = stages.length - 1;
  if (q_pool > steps) throw new UserError(`q_pool ${q_pool} is more than the ${steps} steps between stages`);
  if (product(mask_unit_size) % product(q_stride) ** q_pool !== 0) {
    throw new UserError(
      `mask_unit_size ${mask_unit_size} can't be pooled ${q_pool} times with q_stride ${q_stride}`,
    );
  }
  [0, 1].forEach((axis) => {
    const unit = Math.max(mask_unit_size[axis]!, q_stride[axis]! ** steps);
    const tokens = Math.floor(img_size[axis]! / patch_stride[axis]!);
    if (tokens % unit !== 0) {
      throw new UserError(`img_size ${img_size} makes ${tokens} patches an axis, not a multiple of ${unit}`);
    }
  });
}
