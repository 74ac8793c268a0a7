import { UserError } from '../../../common/errors.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { activationName, type NormSpec, normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

type Pair = readonly [height: number, width: number];

const known = [
  'in_chans num_classes global_pool img_size window_ratio window_size embed_dim depths num_heads mlp_ratio qkv_bias',
  'layer_scale weight_init act_layer norm_layer norm_layer_cl norm_eps',
]
  .join(' ')
  .split(' ');
const withoutEffect = 'drop_rate proj_drop_rate attn_drop_rate drop_path_rate'.split(' ');

export type GcvitArgs = ReturnType<typeof gcvitArgs>;

/** @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm can't run */
export function gcvitArgs(args: ModelArgs) {
  const read = readArguments(args, known, withoutEffect);
  const depths = read.integers('depths', [3, 4, 19, 5]);
  const img_size = read.pair('img_size', 224);
  const embed_dim = read.integer('embed_dim', 64, 1);
  const epsilon = read.number('norm_eps', 1e-5);
  const norm = (name: 'norm_layer' | 'norm_layer_cl', fallback: string): NormSpec => {
    const given = args[name] ?? fallback;
    return {
      ...normSpec(name, given === 'layernorm2d' && name === 'norm_layer' ? 'layernorm' : given),
      epsilon,
    };
  };
  const perStage = (name: string, fallback: readonly number[]) => {
    const list = read.integers(name, fallback);
    return Array.isArray(args[name] ?? fallback) ? list : depths.map(() => list[0]!);
  };
  const ratios = perStage('window_ratio', [32, 32, 16, 32]);
  const windows =
    args.window_size == null
      ? ratios.map((ratio) => img_size.map((size) => Math.floor(size / ratio)) as unknown as Pair)
      : windowsOf(args.window_size, depths.length);
  const resolved = {
    img_size,
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['', 'avg', 'max', 'avgmax'], 'avg'),
    windows,
    widths: depths.map((_, i) => embed_dim * 2 ** i),
    depths,
    num_heads: perStage('num_heads', [2, 4, 8, 16]),
    mlp_ratio: read.number('mlp_ratio', 3),
    qkv_bias: read.boolean('qkv_bias', true),
    layer_scale: args.layer_scale == null ? undefined : read.number('layer_scale', 0),
    weight_init: read.oneOf('weight_init', ['', 'vit', 'normal'], ''),
    activation: activationName('act_layer', args.act_layer),
    imageNorm: norm('norm_layer', 'layernorm2d'),
    tokenNorm: norm('norm_layer_cl', 'layernorm'),
  };
  checkStages({ depths, num_heads: resolved.num_heads, windows });
  checkHeads(resolved.widths, resolved.num_heads);
  if (windows.some((window) => Math.min(...window) < 1)) {
    throw new UserError(`img_size ${img_size} is less than one window at window_ratio ${ratios}`);
  }
  if (resolved.global_pool === '' && resolved.num_classes > 0) {
    throw new UserError('global_pool "" leaves an image, which has no classes; set num_classes 0');
  }
  return resolved;
}

/** A window for each stage: a number or a pair each, or one number for all. */
function windowsOf(value: unknown, stages: number): readonly Pair[] {
  const list = Array.isArray(value) ? value : Array<unknown>(stages).fill(value);
  return list.map((item) => {
    const pair = Array.isArray(item) ? item : [item, item];
    if (pair.length !== 2 || !pair.every((side) => Number.isInteger(side) && side > 0)) {
      throw new UserError(
        `model argument window_size is ${JSON.stringify(value)}; it must be a size, or one a stage`,
      );
    }
    return pair as unknown as Pair;
  });
}
