import { broadcastShapes, divideDims, multiplyDims, normalizeAxis } from '../dim.ts';
import { type DataType, dataTypes } from '../tensor.ts';
import type { Dim, Node, Shape } from '../types.ts';
import type { Inferred, ShapeRule } from './rule.ts';

const unknown: Inferred = { dtype: undefined, shape: undefined };

const dtypeOf = (node: Node, index: number) => node.inputs[index]?.dtype;
const shapeOf = (node: Node, index: number) => node.inputs[index]?.shape;

/** Values of a constant integer input; undefined when it is absent or computed. */
const constantInts = (node: Node, index: number): number[] | undefined =>
  node.inputs[index]?.tensor?.integers;

const typeNamed = (onnx: number): DataType | undefined =>
  onnx === 8
    ? 'string'
    : (Object.keys(dataTypes) as (keyof typeof dataTypes)[]).find((t) => dataTypes[t].onnx === onnx);

/** Output 0 is like input 0. */
const sameAsInput: ShapeRule = (node) => [{ dtype: dtypeOf(node, 0), shape: shapeOf(node, 0) }];

/** Before this operator set, binary ops broadcast their second operand along an `axis`. */
const numpyBroadcasting = 7;

const broadcasting =
  (result?: DataType, from = 0): ShapeRule =>
  (node, opset) => {
    const shapes = node.inputs.map((v) => v?.shape);
    const dtype = result ?? dtypeOf(node, from);
    if (node.domain === '' && opset < numpyBroadcasting) return [{ dtype, shape: shapes[0] }];
    if (shapes.some((s) => !s)) return [{ dtype, shape: undefined }];
    return [{ dtype, shape: (shapes as Shape[]).reduce(broadcastShapes) }];
  };

/** The shape of a matrix product with numpy batch broadcasting. */
export function matMulShape(a: Shape, b: Shape): Shape {
  if (a.length === 0 || b.length === 0) throw new Error('a matrix product of a scalar');
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const inner = left[left.length - 1]!;
  const other = right[right.length - 2]!;
  if (typeof inner === 'number' && typeof other === 'number' && inner !== other) {
    throw new Error(`inner dimensions ${inner} and ${other} differ`);
  }
  const shape = [...broadcastShapes(left.slice(0, -2), right.slice(0, -2))];
  if (a.length > 1) shape.push(left[left.length - 2]!);
  if (b.length > 1) shape.push(right[right.length - 1]!);
  return shape;
}

const swapLast = (shape: Shape): Shape => [
  ...shape.slice(0, -2),
  shape[shape.length - 1]!,
  shape[shape.length - 2]!,
];

const product =
  (dtype: DataType | undefined, right: number, transposable = false): ShapeRule =>
  (node) => {
    const a = shapeOf(node, 0);
    const b = shapeOf(node, right);
    const result = dtype ?? dtypeOf(node, 0);
    if (!a || !b) return [{ dtype: result, shape: undefined }];
    const flip = (shape: Shape, name: string) =>
      transposable && node.int(name, 0) === 1 && shape.length > 1 ? swapLast(shape) : shape;
    return [{ dtype: result, shape: matMulShape(flip(a, 'transA'), flip(b, 'transB')) }];
  };

/** Reductions: axes as attribute (before opset 18) or as input 1. */
const reduction: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const dtype = dtypeOf(node, 0);
  const given = node.has('axes') ? node.ints('axes') : node.inputs[1] ? constantInts(node, 1) : [];
  if (!shape || !given) return [{ dtype, shape: undefined }];
  const keep = node.int('keepdims', 1) === 1;
  if (given.length === 0 && node.int('noop_with_empty_axes', 0) === 1) return [{ dtype, shape }];
  const axes = new Set(given.length ? given.map((a) => normalizeAxis(a, shape.length)) : shape.keys());
  return [
    {
      dtype,
      shape: keep ? shape.map((d, i) => (axes.has(i) ? 1 : d)) : shape.filter((_, i) => !axes.has(i)),
    },
  ];
};

const argReduction: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  if (!shape) return [{ dtype: 'int64', shape: undefined }];
  const axis = normalizeAxis(node.int('axis', 0), shape.length);
  const keep = node.int('keepdims', 1) === 1;
  return [{ dtype: 'int64', shape: keep ? shape.with(axis, 1) : shape.filter((_, i) => i !== axis) }];
};

const reshape: ShapeRule = (node) => {
  const dtype = dtypeOf(node, 0);
  const input = shapeOf(node, 0);
  const target = constantInts(node, 1);
  if (!target) return [{ dtype, shape: undefined }];
  const dims: Dim[] = target.map((d, i) =>
    d === 0 && node.int('allowzero', 0) === 0 ? (input?.[i] ?? '?') : d,
  );
  const open = dims.indexOf(-1);
  if (!input) return [{ dtype, shape: open < 0 ? dims : undefined }];
  const total = multiplyDims(input);
  if (open < 0) {
    const made = multiplyDims(dims);
    if (typeof total === 'number' && typeof made === 'number' && total !== made) {
      throw new Error(`can't reshape ${total} elements to [${dims}]`);
    }
    return [{ dtype, shape: dims }];
  }
  const rest = divideDims(total, multiplyDims(dims.filter((_, i) => i !== open)));
  if (rest === undefined) throw new Error(`can't reshape [${input}] to [${target}]`);
  return [{ dtype, shape: dims.with(open, rest) }];
};

const pooled = (node: Node, kernel: readonly number[], channels: Dim): Shape | undefined => {
  const input = shapeOf(node, 0);
  if (!input) return undefined;
  const rank = kernel.length;
  const strides = node.ints('strides', Array(rank).fill(1));
  const dilations = node.ints('dilations', Array(rank).fill(1));
  const pads = node.ints('pads', Array(2 * rank).fill(0));
  const auto = node.string('auto_pad', 'NOTSET');
  const round = node.int('ceil_mode', 0) === 1 ? Math.ceil : Math.floor;
  const spatial = input.slice(2).map((dim, i): Dim => {
    if (typeof dim === 'string') return `${node.name}_${i}`;
    const reach = (kernel[i]! - 1) * dilations[i]! + 1;
    if (auto.startsWith('SAME')) return Math.ceil(dim / strides[i]!);
    const padding = auto === 'VALID' ? 0 : pads[i]! + pads[i + rank]!;
    const length = round((dim + padding - reach) / strides[i]!) + 1;
    if (length < 1) throw new Error(`a window of ${reach} does not fit an axis of ${dim}`);
    return length;
  });
  return [input[0]!, channels, ...spatial];
};

const convolution: ShapeRule = (node) => {
  const weight = shapeOf(node, 1);
  const input = shapeOf(node, 0);
  const dtype = dtypeOf(node, 0);
  if (!weight || !input) return [{ dtype, shape: undefined }];
  const perGroup = weight[1]!;
  const channels = input[1]!;
  const groups = node.int('group', 1);
  if (typeof channels === 'number' && typeof perGroup === 'number' && channels !== perGroup * groups) {
    throw new Error(`${channels} channels, but the weight is made for ${perGroup * groups}`);
  }
  return [{ dtype, shape: pooled(node, weight.slice(2) as number[], weight[0]!) }];
};

const pooling: ShapeRule = (node) => {
  const result = {
    dtype: dtypeOf(node, 0),
    shape: pooled(node, node.ints('kernel_shape'), shapeOf(node, 0)?.[1] ?? '?'),
  };
  return [result, { dtype: 'int64', shape: result.shape }];
};

const transpose: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  if (!shape) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const perm = node.ints('perm', [...shape.keys()].reverse());
  if (perm.length !== shape.length) throw new Error(`perm [${perm}] does not fit rank ${shape.length}`);
  return [{ dtype: dtypeOf(node, 0), shape: perm.map((axis) => shape[axis]!) }];
};

const split: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const dtype = dtypeOf(node, 0);
  if (!shape) return node.outputs.map(() => ({ dtype, shape: undefined }));
  const axis = normalizeAxis(node.int('axis', 0), shape.length);
  const length = shape[axis]!;
  const count = node.outputs.length;
  const given = node.has('split') ? node.ints('split') : constantInts(node, 1);
  if (!given && node.inputs[1]) return node.outputs.map(() => ({ dtype, shape: undefined }));
  const sizes = given ?? equalParts(length, count);
  if (typeof length === 'number' && sizes.reduce((a, b) => a + b, 0) !== length) {
    throw new Error(`parts [${sizes}] don't add up to ${length}`);
  }
  return sizes.map((size) => ({ dtype, shape: shape.with(axis, size) }));
};

function equalParts(length: Dim, count: number): number[] {
  if (typeof length !== 'number') throw new Error(`can't split a symbolic axis ${length}`);
  const part = Math.ceil(length / count);
  return Array.from({ length: count }, (_, i) => Math.min(part, length - i * part));
}

const concat: ShapeRule = (node) => {
  const shapes = node.inputs.map((v) => v?.shape);
  const dtype = dtypeOf(node, 0);
  if (shapes.some((s) => !s)) return [{ dtype, shape: undefined }];
  const [first, ...rest] = shapes as Shape[];
  const axis = normalizeAxis(node.int('axis'), first!.length);
  let total: Dim = first![axis]!;
  for (const shape of rest) {
    const agrees = shape.every(
      (d, i) => i === axis || d === first![i] || typeof d === 'string' || typeof first![i] === 'string',
    );
    if (shape.length !== first!.length || !agrees) throw new Error(`can't join [${shape}] to [${first}]`);
    const next: Dim = shape[axis]!;
    total = typeof total === 'number' && typeof next === 'number' ? total + next : `${node.name}_joined`;
  }
  return [{ dtype, shape: first!.with(axis, total) }];
};

const slice: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const dtype = dtypeOf(node, 0);
  const starts = node.has('starts') ? node.ints('starts') : constantInts(node, 1);
  const ends = node.has('ends') ? node.ints('ends') : constantInts(node, 2);
  if (!shape || !starts || !ends) return [{ dtype, shape: undefined }];
  const axes = (node.has('axes') ? node.ints('axes') : constantInts(node, 3)) ?? starts.map((_, i) => i);
  const steps = constantInts(node, 4) ?? starts.map(() => 1);
  const result = [...shape];
  axes.forEach((given, i) => {
    const axis = normalizeAxis(given, shape.length);
    const length = shape[axis]!;
    result[axis] =
      typeof length === 'number' ? sliceLength(length, starts[i]!, ends[i]!, steps[i]!) : `${node.name}_${i}`;
  });
  return [{ dtype, shape: result }];
};

function sliceLength(length: number, start: number, end: number, step: number): number {
  const clamp = (x: number, low: number, high: number) =>
    Math.min(Math.max(x < 0 ? x + length : x, low), high);
  if (step > 0) return Math.max(0, Math.ceil((clamp(end, 0, length) - clamp(start, 0, length)) / step));
  const from = clamp(start, 0, length - 1);
  const to = end < -length ? -1 : clamp(end, -1, length - 1);
  return Math.max(0, Math.ceil((to - from) / step));
}

const gather: ShapeRule = (node) => {
  const data = shapeOf(node, 0);
  const indices = shapeOf(node, 1);
  if (!data || !indices) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const axis = normalizeAxis(node.int('axis', 0), data.length);
  return [{ dtype: dtypeOf(node, 0), shape: [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)] }];
};

const axesOf = (node: Node) => (node.has('axes') ? node.ints('axes') : constantInts(node, 1));

const unsqueeze: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const axes = axesOf(node);
  if (!shape || !axes) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const rank = shape.length + axes.length;
  const added = new Set(axes.map((a) => normalizeAxis(a, rank)));
  const rest = [...shape];
  return [
    {
      dtype: dtypeOf(node, 0),
      shape: Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : rest.shift()!)),
    },
  ];
};

const squeeze: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  if (!shape) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const axes = axesOf(node)?.map((a) => normalizeAxis(a, shape.length));
  return [{ dtype: dtypeOf(node, 0), shape: shape.filter((d, i) => (axes ? !axes.includes(i) : d !== 1)) }];
};

const expand: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const target = constantInts(node, 1);
  return [{ dtype: dtypeOf(node, 0), shape: shape && target && broadcastShapes(shape, target) }];
};

const tile: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const repeats = constantInts(node, 1);
  return [
    {
      dtype: dtypeOf(node, 0),
      shape: shape && repeats && shape.map((d, i) => multiplyDims([d, repeats[i]!])),
    },
  ];
};

const pad: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const pads = node.has('pads') ? node.ints('pads') : constantInts(node, 1);
  if (!shape || !pads) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const axes = constantInts(node, 3)?.map((a) => normalizeAxis(a, shape.length)) ?? [...shape.keys()];
  const result = [...shape];
  axes.forEach((axis, i) => {
    const dim = shape[axis]!;
    const extra = pads[i]! + pads[i + axes.length]!;
    if (extra !== 0) result[axis] = typeof dim === 'number' ? dim + extra : `${node.name}_${axis}`;
  });
  return [{ dtype: dtypeOf(node, 0), shape: result }];
};

const flatten: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  if (!shape) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const given = node.int('axis', 1);
  const axis = given < 0 ? given + shape.length : given;
  return [
    { dtype: dtypeOf(node, 0), shape: [multiplyDims(shape.slice(0, axis)), multiplyDims(shape.slice(axis))] },
  ];
};

const gemm: ShapeRule = (node) => {
  const a = shapeOf(node, 0);
  const b = shapeOf(node, 1);
  if (!a || !b) return [{ dtype: dtypeOf(node, 0), shape: undefined }];
  const left = node.int('transA', 0) ? swapLast(a) : a;
  const right = node.int('transB', 0) ? swapLast(b) : b;
  return [{ dtype: dtypeOf(node, 0), shape: matMulShape(left, right) }];
};

/** Normalizations: output like the input, then mean and inverse deviation with the normalized axes at 1. */
const normalization: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const statistics: Inferred = { dtype: 'float32', shape: shape && statisticsShape(node, shape) };
  return [{ dtype: dtypeOf(node, 0), shape }, statistics, statistics];
};

const statisticsShape = (node: Node, shape: Shape): Shape => {
  const axis = normalizeAxis(node.int('axis', -1), shape.length);
  return shape.map((d, i) => (i < axis ? d : 1));
};

const constant: ShapeRule = (node) => {
  const attribute = node.attributes.get('value');
  if (attribute?.kind === 'tensor') return [{ dtype: attribute.value.dtype, shape: attribute.value.shape }];
  if (node.has('value_float')) return [{ dtype: 'float32', shape: [] }];
  if (node.has('value_int')) return [{ dtype: 'int64', shape: [] }];
  if (node.has('value_floats')) {
    const floats = node.attributes.get('value_floats');
    return [{ dtype: 'float32', shape: floats?.kind === 'floats' ? [floats.value.length] : undefined }];
  }
  if (node.has('value_ints')) return [{ dtype: 'int64', shape: [node.ints('value_ints').length] }];
  return [unknown];
};

const constantOfShape: ShapeRule = (node) => {
  const attribute = node.attributes.get('value');
  const dtype = attribute?.kind === 'tensor' ? attribute.value.dtype : 'float32';
  return [{ dtype, shape: constantInts(node, 0) }];
};

const resize: ShapeRule = (node) => {
  const shape = shapeOf(node, 0);
  const sizes = constantInts(node, 3);
  const scales = node.inputs[2]?.tensor?.data as Float32Array | undefined;
  const dtype = dtypeOf(node, 0);
  if (sizes?.length) return [{ dtype, shape: sizes }];
  if (!shape || !scales?.length) return [{ dtype, shape: undefined }];
  return [{ dtype, shape: shape.map((d, i) => (typeof d === 'number' ? Math.floor(d * scales[i]!) : d)) }];
};

const oneHot: ShapeRule = (node) => {
  const indices = shapeOf(node, 0);
  const depth = constantInts(node, 1)?.[0];
  if (!indices || depth === undefined) return [{ dtype: dtypeOf(node, 2), shape: undefined }];
  const given = node.int('axis', -1);
  const axis = given < 0 ? given + indices.length + 1 : given;
  return [{ dtype: dtypeOf(node, 2), shape: [...indices.slice(0, axis), depth, ...indices.slice(axis)] }];
};

const table = (names: string, rule: ShapeRule): Record<string, ShapeRule> =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule]));

/** How each op shapes its outputs, keyed by `Node.op`. */
export const shapeRules: Record<string, ShapeRule> = {
  ...table(
    'Abs Acos Asin Atan Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Hardmax Identity LeakyRelu Log LogSoftmax Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh CumSum ThresholdedRelu PRelu ScatterND ScatterElements LpNormalization InstanceNormalization GroupNormalization BatchNormalization',
    sameAsInput,
  ),
  ...table(
    'com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.BiasGelu com.microsoft.QuickGelu com.microsoft.BiasSoftmax',
    sameAsInput,
  ),
  ...table('Add Sub Mul Div Pow Mod Min Max Mean Sum BitShift', broadcasting()),
  ...table('Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor', broadcasting('bool')),
  ...table('IsNaN IsInf', (node) => [{ dtype: 'bool', shape: shapeOf(node, 0) }]),
  Where: broadcasting(undefined, 1),
  ...table(
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp',
    reduction,
  ),
  ...table('ArgMax ArgMin', argReduction),
  MatMul: product(undefined, 1),
  'com.microsoft.FusedMatMul': product(undefined, 1, true),
  MatMulInteger: product('int32', 1),
  QLinearMatMul: (node) => [{ dtype: dtypeOf(node, 7), shape: product(undefined, 3)(node, 1)[0]!.shape }],
  'com.microsoft.MatMulIntegerToFloat': product('float32', 1),
  'com.microsoft.DynamicQuantizeMatMul': product('float32', 1),
  Gemm: gemm,
  Conv: convolution,
  ...table('MaxPool AveragePool', pooling),
  ...table('GlobalAveragePool GlobalMaxPool', (node) => [
    { dtype: dtypeOf(node, 0), shape: shapeOf(node, 0)?.map((d, i) => (i < 2 ? d : 1)) },
  ]),
  Reshape: reshape,
  Transpose: transpose,
  Split: split,
  Concat: concat,
  Slice: slice,
  Gather: gather,
  GatherElements: (node) => [{ dtype: dtypeOf(node, 0), shape: shapeOf(node, 1) }],
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  Flatten: flatten,
  ...table('LayerNormalization RMSNormalization SimplifiedLayerNormalization', normalization),
  'com.microsoft.SkipLayerNormalization': (node) => [
    { dtype: dtypeOf(node, 0), shape: shapeOf(node, 0) },
    unknown,
    unknown,
    { dtype: dtypeOf(node, 0), shape: shapeOf(node, 0) },
  ],
  'com.microsoft.MultiHeadAttention': (node) => {
    const query = shapeOf(node, 0);
    const value = shapeOf(node, 2);
    return [
      {
        dtype: dtypeOf(node, 0),
        shape: query && value?.length === 3 ? [query[0]!, query[1]!, value[2]!] : undefined,
      },
    ];
  },
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Shape: (node) => {
    const rank = shapeOf(node, 0)?.length;
    if (rank === undefined) return [{ dtype: 'int64', shape: undefined }];
    return [{ dtype: 'int64', shape: [sliceLength(rank, node.int('start', 0), node.int('end', rank), 1)] }];
  },
  Size: () => [{ dtype: 'int64', shape: [] }],
  Cast: (node) => [{ dtype: typeNamed(node.int('to')), shape: shapeOf(node, 0) }],
  CastLike: (node) => [{ dtype: dtypeOf(node, 1), shape: shapeOf(node, 0) }],
  Resize: resize,
  OneHot: oneHot,
  QuantizeLinear: (node) => [{ dtype: dtypeOf(node, 2) ?? 'uint8', shape: shapeOf(node, 0) }],
  DequantizeLinear: (node) => [{ dtype: dtypeOf(node, 1), shape: shapeOf(node, 0) }],
  DynamicQuantizeLinear: (node) => [
    { dtype: 'uint8', shape: shapeOf(node, 0) },
    { dtype: 'float32', shape: [] },
    { dtype: 'uint8', shape: [] },
  ],
};
