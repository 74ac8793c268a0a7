import type { Variant } from '../src/lab/variant.ts';

/** A file of a lab that takes one image of four numbers, in tests that run none. */
export const tinyVariant = (more: Pick<Variant, 'id' | 'path' | 'format'> & Partial<Variant>): Variant => ({
  name: more.id,
  title: more.id,
  file: `${more.id}.${more.format}`,
  run: undefined,
  precision: 'fp32',
  bytes: 5,
  sha256: '',
  input: {
    name: 'x',
    dtype: 'float32',
    shape: [1, 1, 2, 2],
    layout: 'NCHW',
    size: [1, 2, 2],
    scale: [1],
    offset: [0],
  },
  output: 'y',
  classNames: null,
  scores: 'logits',
  fit: { cropPct: 1, cropMode: 'center' },
  samples: [],
  expectation: { samples: [], tolerance: 1e-3, from: 'the test' },
  ...more,
});
