import { Tensor } from '../tensor.ts';
import { floats, irregular, type OpCase, opCase } from './case.ts';

const x = floats('N', 3, 4);
const image = floats('N', 2, 5, 6);
const index = (value: number) => Tensor.scalar(value, 'int64');

const noRegion = Tensor.float32([0], []);

const resizeCases: OpCase[] = [
  opCase('Resize', [image, noRegion], { scales: [1, 1, 2, 3], mode: 'nearest' }),
  ...[
    { scales: [1, 1, 1.5, 0.5], coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    { scales: [1, 1, 2, 2], mode: 'linear' },
    { scales: [1, 1, 0.6, 1.4], mode: 'linear', coordinate_transformation_mode: 'pytorch_half_pixel' },
    { scales: [1, 1, 2, 1.5], mode: 'cubic', cubic_coeff_a: -0.5 },
    { scales: [1, 1, 2, 0.5], mode: 'cubic', exclude_outside: 1 },
  ].map((args) => opCase('Resize', [image, noRegion], args)),
  ...[
    { sizes: [2, 2, 10, 3], mode: 'linear', coordinate_transformation_mode: 'align_corners' },
    { sizes: [2, 2, 7, 4], mode: 'nearest', nearest_mode: 'ceil' },
  ].map((args) => ({
    ...opCase('Resize', [floats(2, 2, 5, 6), noRegion], { ...args, scales: noRegion }),
    opsets: [11, 13, 18],
  })),
  {
    ...opCase('Resize', [image, undefined], { sizes: [9, 4], axes: [2, 3], mode: 'linear', antialias: 1 }),
    opsets: [18],
  },
  {
    ...opCase('Resize', [image, undefined], {
      ...{ sizes: [2, 3], axes: [2, 3], mode: 'cubic', antialias: 1, exclude_outside: 1 },
    }),
    opsets: [18],
  },
];

/** Ops that move elements about, and those that make numbers from shapes. */
export const movementCases: OpCase[] = [
  opCase('Reshape', [x], { shape: [0, 2, 6] }),
  opCase('Reshape', [x], { shape: [-1, 4] }),
  opCase('Reshape', [x], { shape: [0, 0, 2, 2] }),
  ...[0, 1, 2].map((axis) => opCase('Flatten', [x], { axis })),
  opCase('Squeeze', [floats('N', 1, 3)], { axes: [1] }),
  opCase('Squeeze', [floats(1, 3, 1)]),
  opCase('Unsqueeze', [x], { axes: [0, 2] }),
  opCase('Unsqueeze', [x], { axes: [2] }),
  opCase('Transpose', [x], { perm: [2, 0, 1] }),
  opCase('Transpose', [x], { perm: [0, 2, 1] }),
  opCase('Transpose', [x]),
  opCase('Split', [x], { split: [1, 2, 1], axis: 2 }, 3),
  opCase('Split', [x], { axis: 1, num_outputs: 3 }, 3),
  opCase('Concat', [x, floats('N', 2, 4)], { axis: 1 }),
  opCase('Concat', [x, floats('N', 3, 2)], { axis: 2 }),
  opCase('Concat', [x, irregular('float32', [2, 1, 4], 9)], { axis: 1 }),
  opCase('Slice', [x], { starts: [1], ends: [100], axes: [1] }),
  opCase('Slice', [floats(2, 3, 4)], { starts: [0, 1], ends: [2, 3] }),
  opCase('Slice', [x], { starts: [-3, 0], ends: [-1, 2], axes: [2, 1] }),
  opCase('Slice', [x], { starts: [-1], ends: [-100], axes: [2], steps: [-2] }),
  opCase('Gather', [x], { indices: index(0), axis: 1 }),
  opCase('Gather', [x], { indices: index(-1), axis: 1 }),
  opCase('Gather', [x], { indices: [1, 2], axis: 2 }),
  opCase('Gather', [x], { indices: [2, 0, 2], axis: 1 }),
  opCase('Gather', [floats(5, 3)], { indices: Tensor.int64([4, 0, 4, 1], [2, 2]) }),
  opCase('Gather', [floats('2*N', 3)], { indices: [1, 0, 1] }),
  opCase('Gather', [floats(3, 'N', 2)], { indices: Tensor.int64([1, 0, -1, 1], [2, 2]), axis: 1 }),
  opCase('GatherElements', [floats(3, 4), Tensor.int64([0, 1, 2, 1], [2, 2])], { axis: 1 }),
  opCase('ScatterND', [x, Tensor.int64([0], [1, 1]), floats(1, 3, 4)]),
  opCase('ScatterND', [x, Tensor.int64([1, 0, 0, 2], [2, 2]), floats(2, 4)]),
  {
    ...opCase('ScatterND', [x, Tensor.int64([1, 1], [2, 1]), floats(2, 3, 4)], { reduction: 'add' }),
    opsets: [18],
  },
  opCase('ScatterND', [floats(3, 4, 2), Tensor.int64([1, 0, 0, -1], [2, 2]), floats(2, 2)]),
  opCase('GatherND', [floats(3, 4, 2), Tensor.int64([1, 0, 0, -1, 2, 2], [1, 3, 2])]),
  opCase('GatherND', [x, Tensor.int64([1, 0, 0, 2, 1, 0], [3, 2])]),
  opCase('ScatterElements', [floats(3, 4), Tensor.int64([0, 1, 2, 0], [2, 2]), floats(2, 2)]),
  opCase('Expand', [floats(1, 3, 1)], { shape: [2, 3, 4] }),
  opCase('Tile', [x], { repeats: [1, 2, 3] }),
  opCase('Pad', [x], { pads: [0, 1, 2, 0, 0, 3] }),
  opCase('Pad', [x], { pads: [0, 1, 2, 0, 0, 3], value: 0.5 }),
  opCase('Pad', [x], { pads: [1, 2], axes: [-1] }),
  opCase('Pad', [image], { pads: [0, 0, 2, 1, 0, 0, 1, 3], mode: 'reflect' }),
  opCase('Pad', [x], { pads: [0, 2, 0, 0, 1, 3], mode: 'edge' }),
  opCase('Tile', [floats('N', 1, 4)], { repeats: [1, 3, 1] }),
  { ...opCase('Upsample', [image], { scales: [1, 1, 2, 3], mode: 'nearest' }), opsets: [7, 9] },
  ...resizeCases,
  opCase('Constant', [], { value: irregular('float32', [2, 3], 1) }),
  opCase('Constant', [], { value_ints: [1, 2, 3] }),
  opCase('ConstantOfShape', [], { shape: [2, 3], value: Tensor.float32([1], [0.5]) }),
  opCase('ConstantOfShape', [], { shape: [2, 3] }),
  opCase('Range', [index(0), index(5), index(2)]),
  opCase('Shape', [x]),
  opCase('Shape', [x], { start: 1 }),
  opCase('Size', [x]),
];
