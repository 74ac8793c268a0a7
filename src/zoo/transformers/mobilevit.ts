import { UserError } from '../../common/errors.ts';
import { encoderLayers, heads } from './names.ts';
import type { NameRule, TransformersRow } from './row.ts';

/** The published sizes, by the widths of their transformers and stages. */
const sizes = new Map([
  ['64,80,96 16,16,24,48,64,80,320', 'mobilevit_xxs'],
  ['96,120,144 16,32,48,64,80,96,384', 'mobilevit_xs'],
  ['144,192,240 16,32,64,96,128,160,640', 'mobilevit_s'],
]);

/** The three convolutions of an inverted bottleneck under `from`, with their norms. */
const bottleneck = (from: string, to: string): NameRule[] =>
  [
    ['expand_1x1', 'conv1_1x1'],
    ['conv_3x3', 'conv2_kxk'],
    ['reduce_1x1', 'conv3_1x1'],
  ].flatMap(([theirs, ours]) => convolution(`${from}\\.${theirs}`, `${to}.${ours}`));

/** A convolution with a BatchNorm. */
const convolution = (from: string, to: string): NameRule[] => [
  [new RegExp(`^${from}\\.convolution\\.`), `${to}.conv.`],
  [new RegExp(`^${from}\\.normalization\\.`), `${to}.bn.`],
];

const stage = 'encoder\\.layer\\.(\\d+)';

/** MobileViT (`apple/mobilevit-small`), in its three sizes. */
export const mobilevit: TransformersRow = {
  types: ['mobilevit'],
  modules: ['mobilevit'],
  plan(fields) {
    const widths = fields.integers('hidden_sizes', [144, 192, 240]);
    const necks = fields.integers('neck_hidden_sizes', [16, 32, 64, 96, 128, 160, 640]);
    const name = sizes.get(`${widths} ${necks}`);
    if (!name)
      throw new UserError(
        `no MobileViT of timm has hidden_sizes [${widths}] and neck_hidden_sizes [${necks}]`,
      );
    return {
      names: [name],
      args: {},
      imageSize: fields.pair('image_size', 256),
      channels: fields.integer('num_channels', 3, 1),
    };
  },
  rules: [
    ...convolution('conv_stem', 'stem'),
    ...bottleneck(`${stage}\\.layer\\.(\\d+)`, 'stages.$1.$2'),
    ...bottleneck(`${stage}\\.downsampling_layer`, 'stages.$1.0'),
    ...convolution(`${stage}\\.conv_kxk`, 'stages.$1.1.conv_kxk'),
    [new RegExp(`^${stage}\\.conv_1x1\\.convolution\\.`), 'stages.$1.1.conv_1x1.'],
    ...encoderLayers(`${stage}\\.transformer\\.layer\\.(\\d+)`, 'stages.$1.1.transformer.$2', 'attention'),
    [new RegExp(`^${stage}\\.layernorm\\.`), 'stages.$1.1.norm.'],
    ...convolution(`${stage}\\.conv_projection`, 'stages.$1.1.conv_proj'),
    ...convolution(`${stage}\\.fusion`, 'stages.$1.1.conv_fusion'),
    ...convolution('conv_1x1_exp', 'final_conv'),
    [/^classifier\./, 'head.fc.'],
    ...heads,
  ],
};
