import { UserError } from '../../../common/errors.ts';
import { checkHeads, checkStages, readArguments } from '../../arguments.ts';
import { normSpec } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

/** Arguments that only training sees. */
const withoutEffect = 'drop_rate proj_drop_rate attn_drop_rate drop_path_rate';

const known =
  'img_size patch_size in_chans num_classes embed_dims serial_depths parallel_depth num_heads mlp_ratios qkv_bias norm_layer crpe_window global_pool';

type Size = readonly [height: number, width: number];

/** Kernels of the convolutions of values, and how many heads each is for. */
type HeadWindows = readonly (readonly [kernel: number, heads: number])[];

const defaultWindows: HeadWindows = [
  [3, 2],
  [5, 3],
  [7, 3],
];

/** The arguments of timm's CoaT, checked and resolved. */
export type CoatArgs = ReturnType<typeof coatArgs>;

/**
 * @throws UserError on an unknown argument, a value of the wrong kind, or a combination that timm can't build or run
 */
export function coatArgs(args: ModelArgs) {
  const read = readArguments(args, known.split(' '), withoutEffect.split(' '));
  const num_heads = read.integer('num_heads', 8, 1);
  const img_size = read.pair('img_size', 224);
  const resolved = {
    img_size,
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    patch_size: read.integer('patch_size', 16, 1),
    embed_dims: read.integers('embed_dims', [64, 128, 320, 512]),
    serial_depths: read.integers('serial_depths', [3, 4, 6, 3], 0),
    parallel_depth: read.integer('parallel_depth', 0, 0),
    num_heads,
    mlp_ratios: read.perStage('mlp_ratios', [4, 4, 4, 4]),
    qkv_bias: read.boolean('qkv_bias', true),
    norm: normSpec('norm_layer', args.norm_layer),
    windows: args.crpe_window
      ? ([[read.integer('crpe_window', 3, 1), num_heads]] as HeadWindows)
      : defaultWindows,
    global_pool: read.oneOf('global_pool', ['token', 'avg'], 'token'),
    /** Size of each scale's image. */
    grids: [4, 8, 16, 32].map((stride): Size => {
      const [height, width] = img_size.map((length) => Math.floor(length / stride));
      return [height!, width!];
    }),
  };
  const { embed_dims, serial_depths, mlp_ratios, windows } = resolved;
  checkStages({ CoaT: resolved.grids, embed_dims, serial_depths, mlp_ratios });
  checkHeads(
    embed_dims,
    embed_dims.map(() => num_heads),
  );
  if (resolved.patch_size !== 4) {
    throw new UserError(`patch_size is ${resolved.patch_size}; CoaT runs with patches of 4 only`);
  }
  if (windows.some(([kernel]) => kernel % 2 === 0)) throw new UserError('crpe_window must be odd');
  if (windows.reduce((sum, [, heads]) => sum + heads, 0) !== num_heads) {
    throw new UserError(`num_heads is ${num_heads}; without a crpe_window it must be 8`);
  }
  if (resolved.parallel_depth > 0) checkParallel(resolved);
  return resolved;
}

/** Parallel blocks add the images of three scales, and share an MLP. */
function checkParallel({
  img_size,
  embed_dims,
  mlp_ratios,
}: Pick<CoatArgs, 'img_size' | 'embed_dims' | 'mlp_ratios'>) {
  for (const [name, list] of Object.entries({ embed_dims, mlp_ratios })) {
    if (list[1] !== list[2] || list[2] !== list[3]) {
      throw new UserError(
        `${name} of the last three scales must be alike for parallel blocks, not ${list.slice(1)}`,
      );
    }
  }
  if (img_size.some((length) => length % 32 >= 4)) {
    throw new UserError(`img_size ${img_size} must be a multiple of 32 for parallel blocks`);
  }
}
