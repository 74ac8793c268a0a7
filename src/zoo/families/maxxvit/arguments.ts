import { UserError } from '../../../common/errors.ts';
import { checkStages, readArguments } from '../../arguments.ts';
import { bounded } from '../../bounded.ts';
import type { ImageNormSpec } from '../../layers/image-norm.ts';
import { activationName } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';
import { weightSchemes } from './initializers.ts';

const ownNames = 'img_size in_chans num_classes global_pool model_cfg';
const modelNames = 'embed_dim depths block_type stem_width stem_bias head_hidden_size weight_init';
const convNames =
  'block_type expand_ratio expand_output kernel_size group_size pre_norm_act output_bias stride_mode pool_type downsample_pool_type padding attn_early attn_layer attn_act_layer attn_ratio init_values act_layer norm_layer norm_eps';
const transformerNames =
  'dim_head head_first expand_ratio expand_first shortcut_bias attn_bias pool_type rel_pos_type rel_pos_dim partition_ratio window_size grid_size no_block_attn use_nchw_attn init_values act_layer norm_layer norm_layer_cl norm_eps';
/** What training alone sees, and the norm that no block of an image asks for. */
const withoutEffect =
  'drop_rate drop_path_rate transformer_attn_drop transformer_proj_drop conv_norm_layer_cl';

const prefixed = (prefix: string, names: string) => names.split(' ').map((name) => `${prefix}${name}`);
const known = [
  ...ownNames.split(' '),
  ...modelNames.split(' '),
  ...prefixed('conv_', convNames),
  ...prefixed('transformer_', transformerNames),
];

const poolTypes = ['max', 'max2', 'avg', 'avg2'] as const;
/** How an image is halved: the largest or the mean of 3 x 3 pixels, or of 2 x 2. */
export type PoolType = (typeof poolTypes)[number];

const blockTypes = ['C', 'T', 'M', 'PM'] as const;
/** Convolution, attention over the image, or both with attention in windows and grids, these after one another or beside. */
export type BlockType = (typeof blockTypes)[number];

type Size = readonly [height: number, width: number];
type Reader = ReturnType<typeof readArguments>;
type Fields = Readonly<Record<string, unknown>>;

/**
 * The configuration of timm's MaxxVit with what is given beside it, one name each: `conv_expand_ratio`. A null that is
 * given counts as absent, as timm drops it.
 */
function flattened({ model_cfg, ...given }: ModelArgs): ModelArgs {
  const fieldsOf = (value: unknown): Fields => {
    const fields = (value as { fields?: Fields } | undefined)?.fields;
    if (!fields) throw new UserError('model argument model_cfg must be a MaxxVitCfg');
    return fields;
  };
  const { conv_cfg, transformer_cfg, ...model } = fieldsOf(model_cfg);
  const under = (prefix: string, fields: Fields) =>
    Object.fromEntries(Object.entries(fields).map(([name, value]) => [`${prefix}${name}`, value]));
  return {
    ...model,
    ...under('conv_', fieldsOf(conv_cfg)),
    ...under('transformer_', fieldsOf(transformer_cfg)),
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value != null)),
  };
}

/** The norm of images that a name of timm's stands for. */
function imageNormOf(read: Reader, prefix: string): ImageNormSpec {
  const name = read.oneOf(`${prefix}norm_layer`, ['layernorm2d', 'batchnorm2d'], 'layernorm2d');
  const epsilon = read.number(`${prefix}norm_eps`, 1e-5);
  return { kind: name === 'batchnorm2d' ? 'batch' : 'layer', epsilon };
}

/** Layer scale: where it starts, or none. */
const scaleOf = (read: Reader, name: string): number | undefined => read.number(name, 0) || undefined;

function convArgs(read: Reader, args: ModelArgs) {
  read.oneOf('conv_attn_layer', ['se'], 'se');
  return {
    kind: read.oneOf('conv_block_type', ['mbconv', 'convnext'], 'mbconv'),
    expandRatio: read.number('conv_expand_ratio', 4),
    expandOutput: read.boolean('conv_expand_output', true),
    kernel: read.integer('conv_kernel_size', 3, 1),
    groupSize: read.integer('conv_group_size', 1, 0),
    preNormAct: read.boolean('conv_pre_norm_act', false),
    outputBias: read.boolean('conv_output_bias', true),
    strideMode: read.oneOf('conv_stride_mode', ['pool', '1x1', 'dw'], 'dw'),
    poolType: read.oneOf('conv_pool_type', poolTypes, 'avg2'),
    downsamplePoolType: read.oneOf('conv_downsample_pool_type', poolTypes, 'avg2'),
    same: read.oneOf('conv_padding', ['', 'same'], '') === 'same',
    exciteEarly: read.boolean('conv_attn_early', false),
    exciteActivation: activationName('conv_attn_act_layer', args.conv_attn_act_layer, 'silu'),
    exciteRatio: read.number('conv_attn_ratio', 0.25),
    layerScale: scaleOf(read, 'conv_init_values'),
    activation: activationName('conv_act_layer', args.conv_act_layer),
    norm: imageNormOf(read, 'conv_'),
  };
}

function transformerArgs(read: Reader, args: ModelArgs, img_size: Size) {
  if (read.boolean('transformer_use_nchw_attn', false)) {
    throw new UserError('transformer_use_nchw_attn is not built here: no model of timm has it');
  }
  const ratio = read.integer('transformer_partition_ratio', 32, 1);
  const part: Size = [Math.floor(img_size[0] / ratio), Math.floor(img_size[1] / ratio)];
  const given = (name: string) => (args[name] == null ? undefined : read.pair(name, 1));
  const window = given('transformer_window_size');
  read.oneOf('transformer_norm_layer_cl', ['layernorm'], 'layernorm');
  const norm = imageNormOf(read, 'transformer_');
  return {
    headDim: read.integer('transformer_dim_head', 32, 1),
    headFirst: read.boolean('transformer_head_first', true),
    expandRatio: read.number('transformer_expand_ratio', 4),
    expandFirst: read.boolean('transformer_expand_first', true),
    shortcutBias: read.boolean('transformer_shortcut_bias', true),
    bias: read.boolean('transformer_attn_bias', true),
    poolType: read.oneOf('transformer_pool_type', poolTypes, 'avg2'),
    positions: read.oneOf('transformer_rel_pos_type', ['', 'mlp', 'bias', 'bias_tf'], 'bias'),
    positionHidden: read.integer('transformer_rel_pos_dim', 512, 1),
    window: window ?? part,
    grid: (window && given('transformer_grid_size')) ?? window ?? part,
    withWindows: !read.boolean('transformer_no_block_attn', false),
    layerScale: scaleOf(read, 'transformer_init_values'),
    activation: activationName('transformer_act_layer', args.transformer_act_layer),
    norm,
    tokenNorm: { kind: 'layer', epsilon: norm.epsilon } as const,
  };
}

/** The types of a stage's blocks: those given, the last one again as often as it takes. */
function blocksOf(value: unknown, depth: number): BlockType[] {
  const types: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (!types.length || !types.every((type) => blockTypes.includes(type as BlockType))) {
    throw new UserError(
      `block_type of a stage is ${JSON.stringify(value)}; it must be of ${blockTypes.join(', ')}`,
    );
  }
  return Array.from({ length: bounded(depth) }, (_, i) => (types[i] ?? types.at(-1)) as BlockType);
}

/**
 * The arguments of timm's MaxxVit: a configuration, and fields of it that are given beside it.
 * @throws UserError on an unknown argument, a value of the wrong kind, or what timm can't build or run
 */
export function maxxVitArgs(modelArgs: ModelArgs) {
  const args = flattened(modelArgs);
  const read = readArguments(args, known, withoutEffect.split(' '));
  const embed_dim = read.integers('embed_dim', [96, 192, 384, 768]);
  const depths = read.integers('depths', [2, 3, 5, 2], 0);
  const types = (args.block_type ?? ['C', 'C', 'T', 'T']) as readonly unknown[];
  checkStages({ embed_dim, depths, block_type: types });
  const img_size = read.pair('img_size', 224);
  const resolved = {
    img_size,
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    embed_dim,
    stages: depths.map((depth, stage) => blocksOf(types[stage], depth)),
    stem_width: read.pair('stem_width', 64),
    stem_bias: read.boolean('stem_bias', false),
    head_hidden_size: args.head_hidden_size ? read.integer('head_hidden_size', 768, 1) : undefined,
    scheme: read.oneOf('weight_init', weightSchemes, 'vit_eff'),
    conv: convArgs(read, args),
    transformer: transformerArgs(read, args, img_size),
  };
  checkSizes(resolved);
  return resolved;
}
export type MaxxVitArgs = ReturnType<typeof maxxVitArgs>;
export type ConvArgs = MaxxVitArgs['conv'];
export type TransformerArgs = MaxxVitArgs['transformer'];

/** Whether the image can be halved for each stage, cut into windows and grids, and the channels into heads. */
function checkSizes(args: MaxxVitArgs): void {
  const { img_size, stages, embed_dim, stem_width } = args;
  const { window, grid, headDim, withWindows, expandFirst } = args.transformer;
  const whole = 2 ** (stages.length + 1);
  if (img_size.some((length) => length % whole !== 0)) {
    throw new UserError(`img_size ${img_size} is not a multiple of ${whole}`);
  }
  stages.forEach((types, stage) => {
    if (types.every((type) => type === 'C')) return;
    const inputs = stage > 0 ? embed_dim[stage - 1]! : stem_width[1];
    const widths = [embed_dim[stage]!, ...(types[0] === 'T' && !expandFirst ? [inputs] : [])];
    const uneven = widths.find((width) => width % headDim !== 0);
    if (uneven !== undefined) {
      throw new UserError(
        `${uneven} channels in stage ${stage} are not a multiple of transformer_dim_head ${headDim}`,
      );
    }
    if (!types.some((type) => type === 'M' || type === 'PM')) return;
    const size = img_size.map((length) => length / 2 ** (stage + 2));
    for (const [name, part] of Object.entries({ ...(withWindows ? { window } : {}), grid })) {
      if (size.some((length, axis) => length % part[axis]! !== 0)) {
        throw new UserError(
          `the image of stage ${stage} is ${size.join(' x ')}, which a ${name} of ${part.join(' x ')} does not divide`,
        );
      }
    }
  });
  if (stages.flat().includes('PM') && `${window}` !== `${grid}`) {
    throw new UserError(`blocks "PM" need windows as large as grids, not ${window} and ${grid}`);
  }
}
