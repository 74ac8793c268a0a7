import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { type NormSpec, normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

type Pair = readonly [number, number];

/** Arguments that only training or other input sizes see. */
export const withoutEffect = [
  'strict_img_size',
  'drop_rate',
  'proj_drop_rate',
  'attn_drop_rate',
  'drop_path_rate',
];

const known = [
  'img_size patch_size in_chans num_classes global_pool embed_dim depths num_heads head_dim window_size',
  'always_partition mlp_ratio qkv_bias norm_layer',
]
  .join(' ')
  .split(' ');

/** What the Swin transformers have in common, checked. */
export type SwinArgs = ReturnType<typeof swinArgs>;

/** PyTorch's own LayerNorm, which Swin's constructors have as default. */
const pytorchNorm: NormSpec = { kind: 'layer', epsilon: 1e-5 };

/**
 * The arguments of timm's SwinTransformer; those of its successors by `names`.
 * @throws UserError on an unknown argument, a value of the wrong kind, or lists of different lengths
 */
export function swinArgs(args: ModelArgs, names: readonly string[] = known) {
  const read = readArguments(args, names, withoutEffect);
  const depths = read.perStage('depths', [2, 2, 6, 2]);
  const num_heads = read.perStage('num_heads', [3, 6, 12, 24]);
  const mlp_ratio = read.perStage(
    'mlp_ratio',
    depths.map(() => 4),
  );
  const embed_dim = read.integer('embed_dim', 96, 1);
  const resolved = {
    img_size: read.pair('img_size', 224),
    patch_size: read.integer('patch_size', 4, 1),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg'], 'avg'),
    /** Channels of each stage. */
    widths: depths.map((_, stage) => embed_dim * 2 ** stage),
    depths,
    num_heads,
    head_dim: args.head_dim == null ? undefined : read.perStage('head_dim', depths),
    windows: windowsOf(args.window_size, depths.length),
    always_partition: read.boolean('always_partition', false),
    mlp_ratio,
    qkv_bias: read.boolean('qkv_bias', true),
    norm: args.norm_layer ? normSpec('norm_layer', args.norm_layer) : pytorchNorm,
  };
  if (num_heads.length < depths.length || mlp_ratio.length !== depths.length) {
    throw new UserError(`depths has ${depths.length} stages; num_heads and mlp_ratio must have as many`);
  }
  resolved.widths.forEach((width, stage) => {
    if (!resolved.head_dim && width % num_heads[stage]! !== 0) {
      throw new UserError(`stage ${stage}: ${width} channels are not divisible by ${num_heads[stage]} heads`);
    }
  });
  if (resolved.global_pool === '' && resolved.num_classes > 0) {
    throw new UserError('global_pool "" has no classes: num_classes must be 0');
  }
  return resolved;
}

/** Each stage's window: one for all (a number, or height and width), or a list of one a stage. */
function windowsOf(value: unknown, stages: number): Pair[] {
  const given = Array.isArray(value) && value.length !== 2 ? value : Array<unknown>(stages).fill(value ?? 7);
  const pairs = given.map((item) => (Array.isArray(item) ? item : [item, item]));
  const wrong = pairs.some(
    (pair) => pair.length !== 2 || !pair.every((side) => Number.isInteger(side) && side > 0),
  );
  if (wrong || pairs.length !== stages) {
    throw new UserError(
      `model argument window_size is ${JSON.stringify(value)}; it must be a size, or one a stage`,
    );
  }
  return pairs as unknown as Pair[];
}
