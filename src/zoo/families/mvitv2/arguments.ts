import { UserError } from '../../../common/errors.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

type Pair = readonly [number, number];

const knownFields = [
  'depths embed_dim num_heads mlp_ratio pool_first expand_attn qkv_bias use_cls_token use_abs_pos residual_pooling',
  'mode kernel_qkv stride_q stride_kv stride_kv_adaptive patch_kernel patch_stride patch_padding rel_pos_type',
  'norm_layer norm_eps',
]
  .join(' ')
  .split(' ');

export type Mvitv2Args = ReturnType<typeof mvitv2Args>;
export type Mvitv2Config = Mvitv2Args['cfg'];

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm can't run */
export function mvitv2Args(args: ModelArgs) {
  const known = ['model_cfg', 'img_size', 'in_chans', 'global_pool', 'num_classes'];
  const read = readArguments(args, known, ['drop_path_rate', 'drop_rate']);
  const cfg = config(args.model_cfg);
  const resolved = {
    cfg,
    img_size: read.pair('img_size', 224),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'token'], cfg.use_cls_token ? 'token' : 'avg'),
  };
  const { img_size } = resolved;
  if (img_size.some((length, axis) => length % cfg.patch_stride[axis]! !== 0)) {
    throw new UserError(`img_size ${img_size} is not a multiple of patch_stride ${cfg.patch_stride}`);
  }
  if (cfg.rel_pos_type === 'spatial' && img_size[0] !== img_size[1]) {
    throw new UserError(`img_size ${img_size} is not square, which rel_pos_type "spatial" needs`);
  }
  return resolved;
}

/** timm's `MultiScaleVitCfg`: its fields, or them in the table's form. */
function config(value: unknown) {
  const given = (value ?? {}) as { fields?: ModelArgs } & ModelArgs;
  const fields = given.fields ?? given;
  const read = readArguments(fields, knownFields, ['pool_type', 'act_layer', 'dataclass']);
  const depths = read.integers('depths', [2, 3, 16, 3]);
  /** One number is that of the first stage, and each next one has twice as many. */
  const doubling = (name: string, first: number) =>
    Array.isArray(fields[name])
      ? read.integers(name, depths)
      : depths.map((_, i) => read.integer(name, first, 1) * 2 ** i);
  const stride_q =
    pairs('stride_q', fields.stride_q, depths) ?? depths.map((_, i): Pair => (i ? [2, 2] : [1, 1]));
  const cfg = {
    depths,
    embed_dim: doubling('embed_dim', 96),
    num_heads: doubling('num_heads', 1),
    mlp_ratio: read.number('mlp_ratio', 4),
    expand_attn: read.boolean('expand_attn', true),
    qkv_bias: read.boolean('qkv_bias', true),
    use_cls_token: read.boolean('use_cls_token', false),
    use_abs_pos: read.boolean('use_abs_pos', false),
    residual_pooling: read.boolean('residual_pooling', true),
    mode: read.oneOf('mode', ['conv', 'avg', 'max'], 'conv'),
    kernel_qkv: read.pair('kernel_qkv', 3),
    stride_q,
    stride_kv:
      pairs('stride_kv', fields.stride_kv, depths) ??
      adaptiveStrides(read.pair('stride_kv_adaptive', 4), stride_q),
    patch_kernel: read.pair('patch_kernel', 7),
    patch_stride: read.pair('patch_stride', 4),
    patch_padding: read.pair('patch_padding', 3),
    rel_pos_type: read.oneOf('rel_pos_type', ['', 'spatial'], 'spatial'),
    norm: { ...normSpec('norm_layer', fields.norm_layer), epsilon: read.number('norm_eps', 1e-6) },
  };
  if (read.boolean('pool_first', false)) {
    throw new UserError("pool_first is not supported: timm's own does not run");
  }
  checkStages({ depths, embed_dim: cfg.embed_dim, num_heads: cfg.num_heads });
  checkHeads(cfg.embed_dim, cfg.num_heads);
  return cfg;
}

function pairs(name: string, value: unknown, stages: readonly unknown[]): readonly Pair[] | undefined {
  if (value === undefined || value === null) return undefined;
  const isPair = (item: unknown) =>
    Array.isArray(item) && item.length === 2 && item.every((n) => Number.isInteger(n) && n > 0);
  if (!Array.isArray(value) || value.length !== stages.length || !value.every(isPair)) {
    throw new UserError(`model argument ${name} must be a list of pairs, one a stage`);
  }
  return value;
}

/** Keys and values are pooled less as queries are pooled more. */
function adaptiveStrides(first: Pair, stride_q: readonly Pair[]): readonly Pair[] {
  let strides = first;
  return stride_q.map((ofQueries) => {
    if (Math.min(...ofQueries) > 1) {
      strides = strides.map((stride, axis) =>
        Math.max(Math.floor(stride / ofQueries[axis]!), 1),
      ) as unknown as Pair;
    }
    return strides;
  });
}
