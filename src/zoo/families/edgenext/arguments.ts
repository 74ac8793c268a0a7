import { UserError } from '../../../common/errors.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { bounded } from '../../bounded.ts';
import type { ModelArgs } from '../../model-args.ts';

const known =
  'img_size in_chans num_classes global_pool dims depths global_block_counts kernel_sizes heads d2_scales use_pos_emb ls_init_value head_init_scale expand_ratio downsample_block conv_bias stem_type head_norm_first';

/** timm has four stages, whatever the lists say. */
const stages = 4;

/**
 * The arguments of timm's EdgeNeXt under timm's names, checked and resolved.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination timm refuses
 */
export function edgeNextArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), ['drop_rate', 'drop_path_rate']);
  const positions = args.use_pos_emb ?? [false, true, false, false];
  if (!Array.isArray(positions) || !positions.every((flag) => typeof flag === 'boolean')) {
    throw new UserError(`use_pos_emb is ${JSON.stringify(positions)}; it must be a list, one a stage`);
  }
  const resolved = {
    img_size: read.pair('img_size', 256),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    dims: read.integers('dims', [24, 48, 88, 168]),
    depths: read.integers('depths', [3, 3, 9, 3], 0),
    global_block_counts: read.integers('global_block_counts', [0, 1, 1, 1], 0),
    kernel_sizes: read.integers('kernel_sizes', [3, 5, 7, 9]),
    heads: read.integers('heads', [8, 8, 8, 8]),
    d2_scales: read.integers('d2_scales', [2, 2, 3, 4], 2),
    use_pos_emb: positions as readonly boolean[],
    layer_scale: read.number('ls_init_value', 1e-6),
    head_init_scale: read.number('head_init_scale', 1),
    expand_ratio: read.number('expand_ratio', 4),
    downsample_block: read.boolean('downsample_block', false),
    conv_bias: read.boolean('conv_bias', true),
    stem_type: read.oneOf('stem_type', ['patch', 'overlap'], 'patch'),
    head_norm_first: read.boolean('head_norm_first', false),
  };
  const { dims, depths, global_block_counts, kernel_sizes, heads, d2_scales, use_pos_emb } = resolved;
  checkStages({ dims, depths, global_block_counts, kernel_sizes, heads, d2_scales, use_pos_emb });
  if (dims.length !== stages) throw new UserError(`EdgeNeXt has ${stages} stages, dims is of ${dims.length}`);
  const attending = dims.map((_, i) => Math.min(global_block_counts[i]!, depths[i]!));
  checkHeads(
    dims,
    heads.map((count, i) => (attending[i] ? count : 1)),
  );
  if (resolved.layer_scale <= 0 && attending.some((count) => count > 0)) {
    throw new UserError('ls_init_value must be above 0 where blocks attend');
  }
  if (resolved.downsample_block && dims.some((_, i) => i > 0 && attending[i] === depths[i])) {
    throw new UserError('with downsample_block a stage must begin with a block that does not attend');
  }
  const narrow = dims.findIndex((width, i) => attending[i] && partsOf(width, d2_scales[i]!).at(-1)! < 1);
  if (narrow >= 0) {
    throw new UserError(`${dims[narrow]} channels of stage ${narrow} make no ${d2_scales[narrow]} parts`);
  }
  return resolved;
}
export type EdgeNextArgs = ReturnType<typeof edgeNextArgs>;

/** Channels in parts, of which the last may be smaller. */
export function partsOf(width: number, count: number): number[] {
  const part = Math.ceil(width / count);
  return Array.from({ length: bounded(count) }, (_, i) =>
    i < count - 1 ? part : width - part * (count - 1),
  );
}
