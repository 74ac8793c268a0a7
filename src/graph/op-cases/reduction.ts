import { Tensor } from '../tensor.ts';
import { floats, type OpCase, opCase, positive } from './case.ts';

const x = floats('N', 3, 4);
const image = floats('N', 2, 5, 6);
const names = <const S extends readonly string[]>(...list: S): S => list;

/** Ops that gather over axes: softmax, norms, sums and extremes. */
export const reductionCases: OpCase[] = [
  ...names('Softmax', 'LogSoftmax', 'Hardmax').flatMap((op) => [
    opCase(op, [x]),
    opCase(op, [x], { axis: 0 }),
    opCase(op, [x], { axis: 1 }),
    opCase(op, [x], { axis: 2 }),
    opCase(op, [floats('N', 4)]),
  ]),
  opCase('com.microsoft.BiasSoftmax', [floats('N', 4), floats('N', 4)], { axis: 1, is_inner_broadcast: 1 }),

  opCase('LayerNormalization', [x, floats(4), floats(4)], {}, 3),
  opCase('LayerNormalization', [x, floats(4), floats(4)]),
  opCase('LayerNormalization', [x, floats(3, 4)], { axis: 1, epsilon: 0.1 }),
  opCase('RMSNormalization', [x, floats(4)]),
  opCase('SimplifiedLayerNormalization', [x, floats(4)], { axis: -1 }),
  opCase('com.microsoft.SkipLayerNormalization', [x, floats('N', 3, 4), floats(4), floats(4)]),
  opCase('BatchNormalization', [image, floats(2), floats(2), floats(2), positive(2)]),
  opCase('BatchNormalization', [floats('N', 4), floats(4), floats(4), floats(4), positive(4)], {
    epsilon: 0.1,
  }),
  opCase(
    'BatchNormalization',
    [image, floats(2), floats(2), floats(2), positive(2)],
    { training_mode: 1 },
    3,
  ),
  opCase(
    'BatchNormalization',
    [floats('N', 4), floats(4), floats(4), floats(4), positive(4)],
    { training_mode: 1, momentum: 0, epsilon: 0.1 },
    3,
  ),
  opCase('InstanceNormalization', [image, floats(2), floats(2)]),
  opCase('InstanceNormalization', [floats('N', 2, 7), floats(2), floats(2)], { epsilon: 0.1 }),
  opCase('GroupNormalization', [floats('N', 4, 3), floats(4), floats(4)], { num_groups: 4 }),
  {
    ...opCase('GroupNormalization', [floats('N', 4, 3, 2), floats(2), floats(2)], { num_groups: 2 }),
    opsets: [18],
  },
  {
    ...opCase('GroupNormalization', [floats('N', 4, 3, 2), floats(4), floats(4)], {
      num_groups: 2,
      epsilon: 0.1,
    }),
    opsets: [21],
  },
  opCase('LpNormalization', [x]),
  opCase('LpNormalization', [x], { axis: 1, p: 1 }),

  ...names(
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceSumSquare',
    'ReduceL2',
    'ReduceL1',
  ).flatMap((op) => [
    opCase(op, [x], { axes: [-1], keepdims: 0 }),
    opCase(op, [x], { axes: [0, 2], keepdims: 1 }),
    opCase(op, [x]),
  ]),
  ...names('ReduceProd', 'ReduceLogSum', 'ReduceLogSumExp').map((op) =>
    opCase(op, [positive('N', 3, 4)], { axes: [1], keepdims: 0 }),
  ),
  ...names('ArgMax', 'ArgMin').flatMap((op) => [
    opCase(op, [x], { axis: -1, keepdims: 0 }),
    opCase(op, [x], { axis: 1 }),
  ]),
  opCase('CumSum', [x], { axis: 1 }),
  opCase('CumSum', [x], { axis: 2, exclusive: 1, reverse: 1 }),
  opCase('TopK', [x], { k: 2 }, 2),
  opCase('TopK', [x], { k: 2, axis: 1 }, 2),

  opCase('MaxPool', [image], { kernel_shape: [2, 2], strides: [2, 2] }),
  opCase('MaxPool', [image], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }),
  opCase('MaxPool', [floats('N', 2, 7)], { kernel_shape: [3], strides: [2], pads: [1, 0] }),
  opCase('MaxPool', [image], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
  opCase('AveragePool', [image], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
  opCase('AveragePool', [image], { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: 1 }),
  opCase('AveragePool', [image], { kernel_shape: [3, 2], strides: [2, 2], ceil_mode: 1 }),
  opCase('AveragePool', [image], { kernel_shape: [5, 3], strides: [5, 3] }),
  opCase('AveragePool', [image], { kernel_shape: [3, 3], strides: [2, 2], auto_pad: 'SAME_UPPER' }),
  opCase('AveragePool', [floats('N', 2, 7)], { kernel_shape: [3], strides: [2], pads: [0, 1] }),
  ...names('GlobalAveragePool', 'GlobalMaxPool').map((op) => opCase(op, [image])),
  opCase('OneHot', [Tensor.int64([1, 0]), Tensor.float32([2], [0, 1])], { depth: 5 }),
];
