import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { buildModel } from './model.ts';
import type { ModelArgs } from './model-args.ts';
import { zeroParameters } from './parameter-source.ts';

const cases: [string, ModelArgs][] = [
  [
    'swin_tiny_patch4_window7_224',
    { img_size: 65536, patch_size: 2, embed_dim: 8, window_size: 2, num_heads: [1, 1, 1, 1] },
  ],
  ['vit_relpos_small_patch16_224', { img_size: 65536 }],
  ['eva02_tiny_patch14_224', { img_size: 1_400_000 }],
  ['xcit_nano_12_p16_224', { img_size: 1_600_000 }],
  ['convit_tiny', { img_size: 1_600_000 }],
  ['hiera_tiny_224', { img_size: 224_000 }],
  ['mvitv2_tiny', { img_size: 224_000 }],
  ['levit_128s', { img_size: 1_600_000 }],
  ['maxvit_tiny_tf_224', { depths: [1, 1, 1, 1e30] }],
];

describe('sizes that no memory has room for', () => {
  it.each(cases)('of %s are refused: %o', (architecture, modelArgs) => {
    expect(() => buildModel({ architecture, modelArgs }, zeroParameters)).toThrow(UserError);
  });
});
