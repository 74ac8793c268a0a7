import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { reducedAxes, trailingAxes } from '../graph/schema/axes.ts';
import { type OpArguments, type OpName, rowOf, rowsFor } from '../graph/schema/signature.ts';
import { dataTypes, type NumericType, Tensor, type TypedArray } from '../graph/tensor.ts';
import { product } from './layout.ts';
import type { Plan } from './plan.ts';
import { Removal } from './removal.ts';

/** A node that mixes channels: as it is before pruning, and its copy, which is changed. */
interface Place {
  readonly node: Node;
  readonly copy: Node;
  readonly builder: Builder;
  readonly removal: Removal;
}

type MaskRule<A> = (place: Place, args: A) => void;

/** Since this operator set a reduction is given its axes as an input. */
const axesAreInput = 18;

/** The first operator set that chooses between tensors element by element. */
export const maskedSince = 9;

/** What is 1 where elements of a value stay and 0 where they go, broadcasting against it; undefined where all stay. */
function staying({ removal, builder }: Place, value: Value): Value | undefined {
  const gone = removal.gone(value);
  if (!gone) return undefined;
  const dims = value.shape!.map((_, axis) => gone.dims[gone.axes.indexOf(axis)] ?? 1);
  const bits = Float32Array.from(gone.bits, (bit) => 1 - bit);
  return builder.constant(Tensor.float32(dims, bits), 'stays');
}

/** `twin`, which stands for `value` in the copy, with a number where its channels go. */
function filled(place: Place, value: Value, twin: Value, number: number): Value {
  const stays = staying(place, value);
  if (!stays) return twin;
  const { builder } = place;
  const filling = cast(builder, builder.scalar(number), twin.dtype as NumericType);
  return builder.op('Where', [cast(builder, stays, 'bool'), twin, filling]);
}

const cast = (builder: Builder, value: Value, dtype: NumericType): Value =>
  value.dtype === dtype ? value : builder.op('Cast', [value], { to: dataTypes[dtype].onnx });

/** The mean of `twin`, which is zero where channels go, over what stays along some axes. */
function meanOfStaying(
  place: Place,
  value: Value,
  twin: Value,
  axes: readonly number[],
  keepdims: number,
): Value {
  const { builder, node } = place;
  const mean = (x: Value) =>
    node.opset < axesAreInput
      ? builder.op('ReduceMean', [x], { axes, keepdims })
      : builder.op('ReduceMean', [x, builder.ints(axes)], { keepdims });
  const stays = staying(place, value);
  return stays
    ? builder.op('Div', [mean(twin), mean(cast(builder, stays, twin.dtype as NumericType))])
    : mean(twin);
}

/** `x / sqrt(mean x^2 + epsilon)`, of `x` less its mean where it is `centred`, and the statistics: of what stays along the axes. */
function normalized(
  place: Place,
  { axes, epsilon, centred }: { axes: readonly number[]; epsilon: number; centred: boolean },
): { unit: Value; mean: Value | undefined; inverse: Value } {
  const { node, copy, builder } = place;
  const value = node.input(0);
  const whole = filled(place, value, copy.input(0), 0);
  const mean = centred ? meanOfStaying(place, value, whole, axes, 1) : undefined;
  const x = mean ? filled(place, value, builder.op('Sub', [whole, mean]), 0) : whole;
  const variance = meanOfStaying(place, value, builder.op('Mul', [x, x]), axes, 1);
  const least = cast(builder, builder.scalar(epsilon), x.dtype as NumericType);
  const inverse = builder.op('Reciprocal', [builder.op('Sqrt', [builder.op('Add', [variance, least])])]);
  return { unit: builder.op('Mul', [x, inverse]), mean, inverse };
}

/** What goes is nothing to a sum of products. */
const products: MaskRule<object> = (place) => filledInputs(place, 0);

const moving = new Set<string>([
  'Transpose',
  'Reshape',
  'Flatten',
  'Squeeze',
  'Unsqueeze',
  'Identity',
  'Cast',
] satisfies OpName[]);

/** Parameters, turned or cut into axes. */
const isZeroWhereGone = (value: Value): boolean =>
  value.isConstant ||
  (value.producer !== undefined && moving.has(value.producer.op) && isZeroWhereGone(value.producer.input(0)));

function filledInputs(place: Place, number: number): void {
  place.node.inputs.forEach((value, i) => {
    if (value && !(number === 0 && isZeroWhereGone(value)))
      place.copy.setInput(i, filled(place, value, place.copy.input(i), number));
  });
}

/** A reduction to which elements of this number are nothing. */
const neutral =
  (number: number): MaskRule<object> =>
  (place) =>
    filledInputs(place, number);

const mean: MaskRule<OpArguments['ReduceMean']> = (place, args) => {
  const { node, copy } = place;
  const value = node.input(0);
  const axes = reducedAxes(args, value.shape!.length)!;
  const x = filled(place, value, copy.input(0), 0);
  replace(place, meanOfStaying(place, value, x, axes, args.keepdims));
};

const lastAxes =
  (centred: boolean): MaskRule<{ readonly axis: number; readonly epsilon: number }> =>
  (place, args) => {
    const { node, copy, builder } = place;
    const axes = trailingAxes(args, node.input(0).shape!.length);
    const { unit, mean, inverse } = normalized(place, { axes, epsilon: args.epsilon, centred });
    const scaled = builder.op('Mul', [unit, copy.input(1)]);
    const bias = copy.inputs[2];
    replace(place, bias ? builder.op('Add', [scaled, bias]) : scaled, ...(mean ? [mean] : []), inverse);
  };

const instance: MaskRule<OpArguments['InstanceNormalization']> = (place, { epsilon }) => {
  const { node, copy, builder } = place;
  const space = node.input(0).shape!.slice(2);
  const axes = space.map((_, i) => i + 2);
  const perChannel = (index: number) =>
    builder.op('Reshape', [copy.input(index), builder.ints([-1, ...space.map(() => 1)])]);
  const { unit } = normalized(place, { axes, epsilon, centred: true });
  replace(place, builder.op('Add', [builder.op('Mul', [unit, perChannel(1)]), perChannel(2)]));
};

function replace({ copy, builder: { graph } }: Place, ...values: readonly [Value, ...Value[]]): void {
  copy.outputs.forEach((output, i) => {
    if (output && values[i]) graph.replaceUses(output, values[i]);
  });
  graph.removeNodes([copy]);
}

/**
 * What ops that mix channels do about those that go, keyed by `Node.op`. Others keep each to itself, or move them. A softmax over
 * channels that go is none without them: no group has such, and there is no row, so that it would show.
 */
export const maskRules: { readonly [O in OpName]?: MaskRule<OpArguments[O]> } = {
  ...rowsFor('MatMul Gemm Conv ConvTranspose Einsum com.microsoft.FusedMatMul', products),
  ...rowsFor('ReduceSum ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum', neutral(0)),
  ...rowsFor('ReduceMax ReduceLogSumExp', neutral(Number.NEGATIVE_INFINITY)),
  ReduceMin: neutral(Number.POSITIVE_INFINITY),
  ReduceProd: neutral(1),
  ReduceMean: mean,
  LayerNormalization: lastAxes(true),
  ...rowsFor('RMSNormalization SimplifiedLayerNormalization', lastAxes(false)),
  InstanceNormalization: instance,
};

/**
 * The dense model with what a plan removes masked: slices of parameters are zero, and wherever channels are mixed those that go
 * count for nothing, in the statistics of norms and in means too. It has the shapes of the model, and the results of the pruned one.
 * @param plan for groups of this graph
 */
export function maskedGraph(graph: Graph, plan: Plan): Graph {
  const removal = new Removal(plan);
  const { graph: masked, values } = graph.clone();
  for (const constant of removal.constants) {
    masked.setConstant(values.get(constant)!, zeroed(constant, removal));
  }
  const copies = [...masked.nodes];
  graph.nodes.forEach((node, i) => {
    const copy = copies[i]!;
    const rule = rowOf(maskRules, node) as MaskRule<OpArguments[OpName]> | undefined;
    if (!rule) return;
    const mixed = node.inputs.filter((value, i) => value?.shape && (i === 0 || !isZeroWhereGone(value)));
    if (!mixed.some((value) => removal.gone(value!))) return;
    rule({ node, copy, builder: new Builder(masked, copy), removal }, argumentsOf(node));
  });
  masked.removeDead();
  return masked;
}

/** A constant's tensor with zeros in the place of what goes, read when its elements are asked for. */
function zeroed(constant: Value, removal: Removal): Tensor {
  const source = constant.tensor!;
  const { shape } = source;
  const kept = shape.map((_, axis) => removal.kept(constant, axis));
  if (kept.every((indices) => indices === undefined)) return source;
  return new Tensor(source.dtype, shape, () => {
    const data = (source.data as TypedArray).slice();
    kept.forEach((indices, axis) => {
      if (!indices) return;
      const inner = product(shape.slice(axis + 1));
      const step = inner * shape[axis]!;
      for (const index of [...Array(shape[axis]).keys()].filter((at) => !indices.includes(at))) {
        for (let start = index * inner; start < data.length; start += step) {
          if (inner === 1) data[start] = 0;
          else data.fill(0 as never, start, start + inner);
        }
      }
    });
    source.release();
    return data;
  });
}
