import type { Node, Value } from '../../graph/graph.ts';
import { type Linear, matchLinear } from '../../graph/linear.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { windowOf } from '../../graph/schema/window.ts';
import { Tensor } from '../../graph/tensor.ts';
import { transposedMatrix } from '../transposed-matrix.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import type { FileTensor } from './program.ts';

/** A Linear as one operator; its weight lies `[out, in]` there. */
export function fullyConnected(
  x: FileTensor,
  weight: FileTensor,
  bias: FileTensor | undefined,
  lower: Lowering,
): FileTensor {
  const options = { keepNumDims: true, asymmetricQuantizeInputs: weight.dtype === 'int8' };
  return lower.call(
    'FULLY_CONNECTED',
    [x, weight, bias],
    [...x.shape.slice(0, -1), weight.shape[0]!],
    options,
  );
}

function linear({ input, weight, layout, bias }: Linear, lower: Lowering, withBias: boolean): FileTensor {
  const stored = weight.tensor!;
  const rows =
    layout === 'out,in' ? lower.tensor(weight) : lower.constant(transposedMatrix(stored), weight.name);
  return fullyConnected(lower.tensor(input), rows, withBias && bias ? lower.tensor(bias) : undefined, lower);
}

/** The Linear whose bias this Add adds, as one operator; undefined when it is another kind of Add. */
export function biasedLinear(node: Node, lower: Lowering): FileTensor | undefined {
  for (const input of [node.input(0), node.input(1)]) {
    const found = input.producer && matchLinear(lower.graph, input.producer);
    if (found?.bias && found.output === node.output()) return linear(found, lower, true);
  }
  return undefined;
}

const matMul: LoweringRule<object> = (node, _args, lower) => {
  const found = matchLinear(lower.graph, node);
  if (found) return linear(found, lower, false);
  const [a, b] = [lower.tensor(node.input(0)), lower.tensor(node.input(1))];
  if (a.shape.length < 2 || b.shape.length < 2) throw lower.unsupported(node, 'it multiplies a vector');
  return lower.call('BATCH_MATMUL', [a, b], node.output().staticShape);
};

const gemm: LoweringRule<OpArguments['Gemm']> = (node, _args, lower) => {
  const found = matchLinear(lower.graph, node);
  if (!found) throw lower.unsupported(node, 'it is no linear layer with a constant weight');
  return linear(found, lower, true);
};

/** int8 weights on float activations, which XNNPACK rounds row by row. */
const dynamicQuantizeMatMul: LoweringRule<object> = (node, _args, lower) => {
  const [weight, scale] = [node.input(1), node.input(2)];
  const [zeroPoint, bias] = [node.inputs[3], node.inputs[4]];
  if (weight.dtype !== 'int8' || !weight.tensor || !scale.tensor)
    throw lower.unsupported(node, `its weight ${weight.name} is no constant int8 matrix`);
  if (zeroPoint && !zeroPoint.tensor?.integers.every((zero) => zero === 0))
    throw lower.unsupported(node, `its weight ${weight.name} has a zero point that is not 0`);
  const given = scale.tensor.floats;
  const rows = weight.staticShape[1]!;
  const scales = given.length === 1 ? new Float32Array(rows).fill(given[0]!) : given;
  const stored = lower.constant(transposedMatrix(weight.tensor), weight.name, scales);
  return fullyConnected(lower.tensor(node.input(0)), stored, bias && lower.tensor(bias), lower);
};

export const toChannelsLast = [0, 2, 3, 1];
export const toChannelsFirst = [0, 3, 1, 2];

/** An image, channels last, with more around it. @param value what; default zeros */
export function paddedImage(
  x: FileTensor,
  pads: readonly ({ readonly before: number; readonly after: number } | undefined)[],
  lower: Lowering,
  value?: number,
): FileTensor {
  if (pads.every((pad) => !pad!.before && !pad!.after)) return x;
  const amounts = [0, 0, ...pads.flatMap((pad) => [pad!.before, pad!.after]), 0, 0];
  const shape = x.shape.map((length, i) => length + amounts[2 * i]! + amounts[2 * i + 1]!);
  const places = lower.integers(amounts, [4, 2]);
  if (value === undefined) return lower.call('PAD', [x, places], shape);
  return lower.call('PADV2', [x, places, lower.number(value)], shape);
}

/** A filter that is stored as int8, and a scale for each output; undefined where it is no such. */
function storedFilter(value: Value): { weight: Value; scales: Float32Array } | undefined {
  const { producer } = value;
  if (producer?.op !== 'DequantizeLinear' || producer.inputs[2]) return undefined;
  const [weight, scale] = [producer.input(0), producer.input(1)];
  if (weight.dtype !== 'int8' || !weight.tensor || scale.tensor?.size !== weight.tensor.shape[0])
    return undefined;
  return { weight, scales: scale.tensor!.floats };
}

/**
 * An int8 filter in float32: LiteRT computes it once, and convolves floats. With an int8 filter itself CONV_2D rounds the image as
 * well, and takes 1.0 to 1.3 times as long on AVX2 (DEPTHWISE_CONV_2D more).
 */
const widened = (filter: FileTensor, lower: Lowering): FileTensor =>
  lower.call('DEQUANTIZE', [filter], filter.shape);

/** A convolution of images; with one filter a channel as DEPTHWISE_CONV_2D. CONV_2D knows groups by the filter's depth. */
const convolution: LoweringRule<OpArguments['Conv']> = (node, args, lower) => {
  const weight = node.input(1);
  const [out, inside, ...kernel] = weight.staticShape as [number, number, ...number[]];
  if (kernel.length !== 2) throw lower.unsupported(node, 'only convolutions of images are lowered');
  const depthwise = args.group > 1 && inside === 1;
  const { strides, dilations, pads } = windowOf(node, args, kernel);
  const x = paddedImage(lower.transpose(lower.tensor(node.input(0)), toChannelsLast), pads, lower);
  const stored = storedFilter(weight);
  const filter = stored
    ? widened(channelsLast(stored.weight, depthwise, node, lower, stored.scales), lower)
    : channelsLast(weight, depthwise, node, lower);
  const bias = node.inputs[2]
    ? lower.tensor(node.inputs[2])
    : lower.constant(Tensor.float32([out], new Float32Array(out)));
  const [n, c, h, w] = node.output().staticShape as [number, number, number, number];
  const options = {
    padding: 1,
    strideH: strides[0]!,
    strideW: strides[1]!,
    dilationH: dilations[0]!,
    dilationW: dilations[1]!,
    ...(depthwise && { depthMultiplier: out / args.group }),
  };
  const builtin = depthwise ? 'DEPTHWISE_CONV_2D' : 'CONV_2D';
  return lower.transpose(lower.call(builtin, [x, filter, bias], [n, h, w, c], options), toChannelsFirst);
};

/** A filter `[out, in, h, w]` as `[out, h, w, in]`, or `[1, h, w, out]` where each channel has its own. */
function channelsLast(
  { name, tensor }: Value,
  depthwise: boolean,
  node: Node,
  lower: Lowering,
  scales?: Float32Array,
): FileTensor {
  if (!tensor) throw lower.unsupported(node, 'its filter is no constant');
  const [out, inside, h, w] = tensor.shape as [number, number, number, number];
  const area = h * w;
  if (depthwise) {
    const flat = new Tensor(tensor.dtype, [out, area], () => tensor.data);
    const turned = transposedMatrix(flat);
    return lower.constant(new Tensor(tensor.dtype, [1, h, w, out], () => turned.data), name, scales, 3);
  }
  return lower.constant(
    new Tensor(tensor.dtype, [out, h, w, inside], () => {
      const from = tensor.data as Float32Array;
      const to = from.slice();
      for (let o = 0; o < out; o++) {
        const at = o * inside * area;
        for (let c = 0; c < inside; c++) {
          for (let p = 0; p < area; p++) to[at + p * inside + c] = from[at + c * area + p]!;
        }
      }
      return to;
    }),
    name,
    scales,
  );
}

/** A kernel that is stored as int8. */
const dequantizeLinear: LoweringRule<OpArguments['DequantizeLinear']> = (node, _args, lower) => {
  const found = storedFilter(node.output());
  if (!found)
    throw lower.unsupported(node, 'only constants with a scale for each row of their first axis are lowered');
  return widened(lower.constant(found.weight.tensor!, found.weight.name, found.scales), lower);
};

/** Products of matrices and convolutions. */
export const linearRules = {
  MatMul: matMul,
  Gemm: gemm,
  Conv: convolution,
  DequantizeLinear: dequantizeLinear,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
} satisfies LoweringRules;
