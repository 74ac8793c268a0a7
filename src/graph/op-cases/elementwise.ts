import { Tensor } from '../tensor.ts';
import { floats, irregular, type OpCase, opCase, positive, typed } from './case.ts';

const x = floats('N', 3, 4);
const names = <const S extends readonly string[]>(...list: S): S => list;

/** Ops that work on each element alone, or on several at the same place. */
export const elementwiseCases: OpCase[] = [
  ...names('Abs', 'Asin', 'Acos', 'Atan', 'Ceil', 'Celu', 'Cos', 'Cosh', 'Dropout', 'Elu', 'Erf', 'Exp').map(
    (op) => opCase(op, [op === 'Asin' || op === 'Acos' ? { ...x, low: -0.9, high: 0.8 } : x]),
  ),
  ...names('Floor', 'Gelu', 'HardSigmoid', 'HardSwish', 'Identity', 'LeakyRelu', 'Mish', 'Neg', 'Relu').map(
    (op) => opCase(op, [x]),
  ),
  ...names('Round', 'Selu', 'Sigmoid', 'Sign', 'Sin', 'Sinh', 'Softplus', 'Softsign', 'Tan', 'Tanh').map(
    (op) => opCase(op, [op === 'Tan' ? { ...x, low: -1, high: 1 } : x]),
  ),
  ...names('ThresholdedRelu', 'com.microsoft.Gelu', 'com.microsoft.FastGelu', 'com.microsoft.QuickGelu').map(
    (op) => opCase(op, [x]),
  ),
  ...names('Sqrt', 'Log', 'Reciprocal').map((op) => opCase(op, [positive('N', 3, 4)])),
  opCase('LeakyRelu', [x], { alpha: 0.25 }),
  opCase('HardSigmoid', [x], { alpha: 1 / 6 }),
  opCase('Gelu', [x], { approximate: 'tanh' }),
  opCase('com.microsoft.QuickGelu', [x], { alpha: 1 }),
  opCase('com.microsoft.BiasGelu', [x, floats(4)]),
  opCase('com.microsoft.FastGelu', [x, floats(4)]),

  ...names('Add', 'Sub', 'Mul', 'Max', 'Min').flatMap((op) => [
    opCase(op, [x, floats(3, 1)]),
    opCase(op, [floats(4), floats('N', 1, 4)]),
    opCase(op, [x, Tensor.scalar(0.4)]),
  ]),
  ...names('Sum', 'Mean').map((op) => opCase(op, [x, floats(3, 1), floats(4)])),
  opCase('Div', [x, positive(3, 1)]),
  opCase('Div', [floats(), positive('N', 3)]),
  opCase('Div', [x, Tensor.scalar(0.4)]),
  opCase('Pow', [x, Tensor.scalar(2)]),
  opCase('Pow', [x, Tensor.scalar(3)]),
  opCase('Pow', [positive('N', 4), Tensor.scalar(0.5)]),
  opCase('Pow', [positive('N', 4), Tensor.scalar(-1.5)]),
  opCase('Pow', [positive('N', 4), floats(4)]),
  opCase('PRelu', [x, positive(4)]),
  opCase('Elu', [x], { alpha: 0.5 }),
  opCase('Mod', [x, Tensor.scalar(0.7)], { fmod: 1 }),
  opCase('Mod', [typed('int64', 'N', 3), Tensor.int64([3, 3, -3])]),
  opCase('BitShift', [typed('uint8', 'N', 3), new Tensor('uint8', [1], Uint8Array.of(1))], {
    direction: 'LEFT',
  }),

  ...names('Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual').map((op) =>
    op === 'Equal'
      ? opCase(op, [typed('int64', 'N', 3), Tensor.int64([3, 0, -3])])
      : opCase(op, [x, floats(1, 4)]),
  ),
  ...names('And', 'Or', 'Xor').map((op) => opCase(op, [typed('bool', 'N', 3, 4), typed('bool', 3, 1)])),
  opCase('Not', [typed('bool', 'N', 4)]),
  ...names('IsNaN', 'IsInf').map((op) => opCase(op, [x])),
  opCase('Where', [irregular('bool', [3, 4], 5), x, floats(4)]),
  opCase('Cast', [x], { to: 11 }),
  { ...opCase('Cast', [x], { to: 10 }), rounds: true },
  { ...opCase('CastLike', [x, Tensor.int64([1])]), rounds: true },
  opCase('CastLike', [x, new Tensor('float64', [1], Float64Array.of(1))]),

  opCase('Clip', [x], { min: -0.7, max: 0.6 }),
  opCase('Clip', [x], { min: 0 }),
  opCase('Clip', [x], { max: 0.6 }),
];
