import type { Node, Value } from '../../graph/graph.ts';
import { type Linear, matchLinear } from '../../graph/linear.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { windowOf } from '../../graph/schema/window.ts';
import { Tensor } from '../../graph/tensor.ts';
import { transposedMatrix } from '../transposed-matrix.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import type { FileTensor } from './program.ts';
import { roundedAtRunTime, type Stored, storedBehind, storedNumbers, widened } from './rules-quantized.ts';

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
  const stored = node.input(1).shape?.length === 2 ? storedBehind(node.input(1), 1) : undefined;
  if (typeof stored === 'string') throw lower.unsupported(node, stored);
  if (stored) {
    const { tensor, name, scales, zeroPoints } = stored;
    const rows = lower.constant(transposedMatrix(tensor), name, scales, 0, zeroPoints);
    return fullyConnected(lower.tensor(node.input(0)), widened(rows, lower), undefined, lower);
  }
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
  const found = storedNumbers(weight, scale, zeroPoint, 1);
  if (typeof found === 'string') throw lower.unsupported(node, found);
  const { tensor, name, scales, zeroPoints } = found;
  const stored = lower.constant(transposedMatrix(tensor), name, scales, 0, zeroPoints);
  const [x, shift] = [lower.tensor(node.input(0)), bias && lower.tensor(bias)];
  // LiteRT multiplies with weights around 0 alone.
  if (!zeroPoints) return fullyConnected(x, stored, shift, lower);
  return fullyConnected(roundedAtRunTime(x, lower), widened(stored, lower), shift, lower);
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

/** A convolution of images; with one filter a channel as DEPTHWISE_CONV_2D. CONV_2D knows groups by the filter's depth. */
const convolution: LoweringRule<OpArguments['Conv']> = (node, args, lower) => {
  const weight = node.input(1);
  const [out, inside, ...kernel] = weight.staticShape as [number, number, ...number[]];
  if (kernel.length !== 2) throw lower.unsupported(node, 'only convolutions of images are lowered');
  const depthwise = args.group > 1 && inside === 1;
  const { strides, dilations, pads } = windowOf(node, args, kernel);
  const x = paddedImage(lower.transpose(lower.tensor(node.input(0)), toChannelsLast), pads, lower);
  const stored = storedBehind(weight, 0);
  if (typeof stored === 'string') throw lower.unsupported(node, stored);
  const filter = stored
    ? widened(channelsLast(stored, depthwise, node, lower, stored), lower)
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
  { name, tensor }: Pick<Value, 'name' | 'tensor'>,
  depthwise: boolean,
  node: Node,
  lower: Lowering,
  stored?: Stored,
): FileTensor {
  if (!tensor) throw lower.unsupported(node, 'its filter is no constant');
  const [out, inside, h, w] = tensor.shape as [number, number, number, number];
  const area = h * w;
  if (depthwise) {
    const flat = new Tensor(tensor.dtype, [out, area], () => tensor.data);
    const turned = transposedMatrix(flat);
    return lower.constant(
      new Tensor(tensor.dtype, [1, h, w, out], () => turned.data),
      name,
      stored?.scales,
      3,
      stored?.zeroPoints,
    );
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
    stored?.scales,
    0,
    stored?.zeroPoints,
  );
}

/** Products of matrices and convolutions. */
export const linearRules = {
  MatMul: matMul,
  Gemm: gemm,
  Conv: convolution,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
} satisfies LoweringRules;
