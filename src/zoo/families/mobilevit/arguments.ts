import { UserError } from '../../../common/errors.ts';
import { readArguments } from '../../arguments.ts';
import { type ActivationName, activationName } from '../../layers/layer-spec.ts';
import type { ModelArgs } from '../../model-args.ts';

/** A run of blocks of one kind, of which only the first has the stride. */
interface BlockConfig {
  type: 'bottle' | 'mobilevit' | 'mobilevit2';
  repeat: number;
  channels: number;
  stride: number;
  /** Channels between the convolutions for each outer one. */
  ratio: number;
  transformerDim: number | undefined;
  transformerDepth: number;
  patchSize: number;
}

export interface MobileVitArgs {
  img_size: readonly [number, number];
  in_chans: number;
  num_classes: number;
  global_pool: 'avg' | 'max' | 'avgmax';
  /** Stages, each a list of runs. */
  stages: readonly (readonly BlockConfig[])[];
  stem_chs: number;
  width_factor: number;
  num_features: number;
  activation: ActivationName;
}

type Fields = Readonly<Record<string, unknown>>;

/** Fields of timm's ByoModelCfg that say what a MobileViT never has; these are their values in all of them. */
const fixed: Fields = {
  downsample: '',
  stem_type: '3x3',
  stem_pool: '',
  norm_layer: 'batchnorm',
  aa_layer: '',
  head_type: 'classifier',
  head_hidden_size: null,
  attn_layer: null,
  self_attn_layer: null,
};

const known =
  'img_size in_chans num_classes global_pool model_cfg stem_chs width_factor num_features act_layer';
const withoutEffect =
  'drop_rate drop_path_rate drop_block_rate drop_block_size zero_init_last fixed_input_size';

const fieldsOf = (value: unknown, name: string): Fields => {
  const fields = (value as { fields?: Fields } | undefined)?.fields;
  if (!fields)
    throw new UserError(
      `model argument ${name} must be a ${name === 'model_cfg' ? 'ByoModelCfg' : 'ByoBlockCfg'}`,
    );
  return fields;
};

/**
 * The arguments of timm's ByobNet as MobileViTs use it: a configuration, and fields of it that are given beside it.
 * @throws UserError on an unknown argument, a value of the wrong kind, or a field that no MobileViT has
 */
export function mobileVitArgs(args: ModelArgs): MobileVitArgs {
  const config = fieldsOf(args.model_cfg, 'model_cfg');
  for (const [name, value] of Object.entries(fixed)) {
    if ((config[name] ?? null) !== value) {
      throw new UserError(`${name} ${JSON.stringify(config[name])} of model_cfg is not of a MobileViT`);
    }
  }
  const given: ModelArgs = {
    stem_chs: config.stem_chs,
    width_factor: config.width_factor,
    num_features: config.num_features,
    act_layer: config.act_layer,
    ...args,
  };
  const read = readArguments(given, known.split(' '), withoutEffect.split(' '));
  const stages = (config.blocks as readonly unknown[]).map((stage) =>
    (Array.isArray(stage) ? stage : [stage]).map((block) => blockConfig(fieldsOf(block, 'blocks'))),
  );
  return {
    img_size: read.pair('img_size', 256),
    in_chans: read.integer('in_chans', 3, 1),
    num_classes: read.integer('num_classes', 1000, 0),
    global_pool: read.oneOf('global_pool', ['avg', 'max', 'avgmax'], 'avg'),
    stages,
    stem_chs: read.integer('stem_chs', 32, 1),
    width_factor: read.number('width_factor', 1),
    num_features: read.integer('num_features', 0, 0),
    activation: activationName('act_layer', given.act_layer, 'relu'),
  };
}

function blockConfig(fields: Fields): BlockConfig {
  const own = (fields.block_kwargs ?? {}) as Fields;
  const type = fields.type as BlockConfig['type'];
  if (!['bottle', 'mobilevit', 'mobilevit2'].includes(type)) {
    throw new UserError(`block "${fields.type}" is not of a MobileViT`);
  }
  return {
    type,
    repeat: fields.d as number,
    channels: fields.c as number,
    stride: fields.s as number,
    ratio: fields.br as number,
    transformerDim: own.transformer_dim as number | undefined,
    transformerDepth: (own.transformer_depth as number | undefined) ?? 2,
    patchSize: (own.patch_size as number | undefined) ?? 8,
  };
}
