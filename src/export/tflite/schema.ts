import type { DataType } from '../../graph/tensor.ts';

/**
 * What is used of TFLite's schema (`tensorflow/compiler/mlir/lite/schema/schema.fbs`, version 3): numbers of enums
 * and unions, and the places of fields in their tables.
 */
export const identifier = 'TFL3';

/** `TensorType`, by our names. */
export const tensorTypes: { readonly [T in DataType]?: number } = {
  float32: 0,
  float16: 1,
  int32: 2,
  uint8: 3,
  bool: 6,
  int8: 9,
};

/** All of `TensorType` by number: its name, and bits of an element where all have as many. */
export const storedTypes: readonly (readonly [name: string, bits: number | undefined])[] = [
  ['float32', 32],
  ['float16', 16],
  ['int32', 32],
  ['uint8', 8],
  ['int64', 64],
  ['string', undefined],
  ['bool', 8],
  ['int16', 16],
  ['complex64', 64],
  ['int8', 8],
  ['float64', 64],
  ['complex128', 128],
  ['uint64', 64],
  ['resource', undefined],
  ['variant', undefined],
  ['uint32', 32],
  ['uint16', 16],
  ['int4', 4],
  ['bfloat16', 16],
  ['int2', 2],
  ['uint4', 4],
];

/** Places of fields in the tables that carry the model. */
export const fields = {
  model: {
    version: 0,
    operatorCodes: 1,
    subgraphs: 2,
    description: 3,
    buffers: 4,
    metadata: 6,
    signatures: 7,
  },
  operatorCode: { deprecatedCode: 0, custom: 1, version: 2, code: 3 },
  subgraph: { tensors: 0, inputs: 1, outputs: 2, operators: 3, name: 4 },
  tensor: {
    shape: 0,
    type: 1,
    buffer: 2,
    name: 3,
    quantization: 4,
    sparsity: 6,
    shapeSignature: 7,
    hasRank: 8,
    externalBuffer: 10,
  },
  quantization: { scale: 2, zeroPoint: 3, dimension: 6 },
  operator: { code: 0, inputs: 1, outputs: 2, optionsType: 3, options: 4 },
  buffer: { data: 0, offset: 1, size: 2 },
  metadata: { name: 0, buffer: 1 },
  signature: { inputs: 0, outputs: 1, key: 2, subgraph: 4 },
  tensorMap: { name: 0, tensor: 1 },
} as const;

/** An option of an operator: its place, how it is stored, the value that is not written. */
type Option = readonly [place: number, kind: 'int' | 'byte' | 'bool' | 'float', absent: number];

export interface Builtin {
  readonly code: number;
  /** The first that has what we use. */
  readonly version: number;
  /** `BuiltinOptions`: which table, and its options. */
  readonly options?: { readonly type: number; readonly table: Readonly<Record<string, Option>> };
}

const plain = (code: number, version = 1): Builtin => ({ code, version });

const withOptions = (
  code: number,
  version: number,
  type: number,
  table: Readonly<Record<string, Option>> = {},
): Builtin => ({ code, version, options: { type, table } });

const window = { padding: [0, 'byte', 0], strideW: [1, 'int', 0], strideH: [2, 'int', 0] } as const;

const pool = { ...window, filterW: [3, 'int', 0], filterH: [4, 'int', 0] } as const;

/** `BuiltinOperator`, those that rules use. */
export const builtins = {
  ABS: plain(101),
  ADD: withOptions(0, 1, 11),
  AVERAGE_POOL_2D: withOptions(1, 1, 5, pool),
  BATCH_MATMUL: withOptions(126, 1, 101, { adjX: [0, 'bool', 0], adjY: [1, 'bool', 0] }),
  BROADCAST_TO: withOptions(130, 2, 104),
  CAST: withOptions(53, 1, 37, { from: [0, 'byte', 0], to: [1, 'byte', 0] }),
  CEIL: plain(104),
  CONCATENATION: withOptions(2, 1, 10, { axis: [0, 'int', 0] }),
  COS: withOptions(108, 1, 84),
  CONV_2D: withOptions(3, 1, 1, {
    ...window,
    dilationW: [4, 'int', 1],
    dilationH: [5, 'int', 1],
  }),
  DEPTHWISE_CONV_2D: withOptions(4, 2, 2, {
    ...window,
    depthMultiplier: [3, 'int', 0],
    dilationW: [5, 'int', 1],
    dilationH: [6, 'int', 1],
  }),
  DEQUANTIZE: withOptions(6, 3, 38),
  DIV: withOptions(42, 1, 29),
  ELU: plain(111),
  EQUAL: withOptions(71, 1, 53),
  EXP: withOptions(47, 1, 33),
  FLOOR: plain(8),
  FULLY_CONNECTED: withOptions(9, 12, 8, {
    keepNumDims: [2, 'bool', 0],
    asymmetricQuantizeInputs: [3, 'bool', 0],
  }),
  GATHER: withOptions(36, 1, 23, { axis: [0, 'int', 0] }),
  GELU: withOptions(150, 1, 116, { approximate: [0, 'bool', 0] }),
  GREATER: withOptions(61, 1, 44),
  GREATER_EQUAL: withOptions(62, 1, 45),
  HARD_SWISH: withOptions(117, 1, 91),
  LEAKY_RELU: withOptions(98, 1, 75, { alpha: [0, 'float', 0] }),
  LESS: withOptions(58, 1, 41),
  LESS_EQUAL: withOptions(63, 1, 46),
  LOG: plain(73),
  LOGICAL_AND: withOptions(86, 1, 62),
  LOGICAL_NOT: withOptions(87, 1, 63),
  LOGICAL_OR: withOptions(84, 1, 60),
  LOGISTIC: plain(14),
  MAX_POOL_2D: withOptions(17, 1, 5, pool),
  MAXIMUM: withOptions(55, 1, 39),
  MEAN: withOptions(40, 1, 27, { keepDims: [0, 'bool', 0] }),
  MINIMUM: withOptions(57, 1, 39),
  MUL: withOptions(18, 1, 21),
  NEG: withOptions(59, 1, 42),
  PAD: withOptions(34, 1, 22),
  PADV2: withOptions(60, 1, 43),
  POW: withOptions(78, 1, 56),
  REDUCE_MAX: withOptions(82, 1, 27, { keepDims: [0, 'bool', 0] }),
  REDUCE_MIN: withOptions(89, 1, 27, { keepDims: [0, 'bool', 0] }),
  RELU: plain(19),
  RESHAPE: withOptions(22, 1, 17),
  ROUND: plain(116),
  RSQRT: plain(76),
  SELECT_V2: withOptions(123, 1, 98),
  SIGN: withOptions(158, 1, 123),
  SIN: plain(66),
  SLICE: withOptions(65, 1, 48),
  SOFTMAX: withOptions(25, 1, 9, { beta: [0, 'float', 0] }),
  SPLIT: withOptions(49, 1, 35, { splits: [0, 'int', 0] }),
  SQRT: plain(75),
  SUB: withOptions(41, 1, 28),
  SUM: withOptions(74, 1, 27, { keepDims: [0, 'bool', 0] }),
  TANH: plain(28),
  TILE: withOptions(69, 1, 51),
  TRANSPOSE: withOptions(39, 1, 26),
} as const satisfies Record<string, Builtin>;

export type BuiltinName = keyof typeof builtins;
