import type { Graph, Node, Value } from '../../graph/graph.ts';
import { otherOperand, soleReader } from '../../graph/patterns.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { dataTypes, Tensor } from '../../graph/tensor.ts';
import { scopedBuilder } from '../recognize/linear.ts';
import { checked, dequantized } from './dequantized.ts';

/** The product of reals that each product of integers is, and the axis of its weight that scales lie along. */
const products: Readonly<Record<string, { op: string; name: string; axis: 0 | -1 }>> = {
  MatMulInteger: { op: 'MatMul', name: 'matmul', axis: -1 },
  ConvInteger: { op: 'Conv', name: 'conv', axis: 0 },
};

/**
 * Writes products of integers that scales are multiplied with behind them as products of reals, in place:
 * `Mul(Cast(MatMulInteger(x, w, zx, zw)), Mul(sx, sw))` is `MatMul(DequantizeLinear(x, sx, zx), DequantizeLinear(w, sw, zw))`, and
 * a ConvInteger likewise, with the bias that is added behind it. Which factor is whose scale: that of an activation comes from the node that rounds it, what is left is
 * the weight's. It does not fire where the sums are read otherwise, or a factor is no such scale.
 * @returns how many of these products there were, rewritten or not
 * @throws UserError at one whose scale or zero point can't be what it says
 */
export function integerProducts(graph: Graph): number {
  let count = 0;
  for (const node of [...graph.nodes]) {
    if (!Object.hasOwn(products, node.op)) continue;
    count++;
    const { op, name, axis } = products[node.op]!;
    const scaled = scaledSums(graph, node);
    const scales = scaled && scalesOf(graph, node, scaled.factors, axis);
    if (!scales) continue;
    const b = scopedBuilder(graph, scaled.end);
    const reals = scales.map((scale, i) => {
      const quantities = { numbers: node.input(i), scale, zeroPoint: node.inputs[2 + i] };
      return dequantized(b, checked(node, quantities), i ? axis : 1);
    });
    const bias = node.op === 'ConvInteger' ? addedBias(graph, node, scaled.end) : undefined;
    if (bias) b.before = bias.add;
    const made = b.op(op, bias ? [...reals, bias.value] : reals, Object.fromEntries(node.attributes), name);
    replaceValue(graph, (bias?.add ?? scaled.end).output(), made);
  }
  graph.removeDead();
  return count;
}

/** The last `Mul` behind a product and its `Cast`, and what is multiplied there. */
function scaledSums(graph: Graph, node: Node): { end: Node; factors: Value[] } | undefined {
  const cast = soleReader(graph, node.output());
  if (cast?.op !== 'Cast' || argumentsOf<'Cast'>(cast).to !== dataTypes.float32.onnx) return undefined;
  const factors: Value[] = [];
  let end = cast;
  for (;;) {
    const next = soleReader(graph, end.output());
    const found = next?.op === 'Mul' ? factorsOf(otherOperand(next, end.output())) : [];
    if (!found.length || factors.length + found.length > 2) break;
    factors.push(...found);
    end = next!;
  }
  return factors.length ? { end, factors } : undefined;
}

const factorsOf = (value: Value): Value[] =>
  value.producer?.op === 'Mul' ? value.producer.inputs.flatMap((input) => factorsOf(input!)) : [value];

/** A constant for each channel that is added behind a convolution, `[C]` in the shape `[1, C, 1, 1]`, and where. */
function addedBias(graph: Graph, node: Node, end: Node): { add: Node; value: Value } | undefined {
  const add = soleReader(graph, end.output());
  if (add?.op !== 'Add') return undefined;
  const other = otherOperand(add, end.output());
  const { producer } = other;
  const channels = node.input(1).tensor?.shape[0];
  const [value, shape] =
    producer?.op === 'Reshape'
      ? [producer.input(0), producer.inputs[1]?.tensor?.integers]
      : [other, other.tensor?.shape];
  const perChannel = shape?.every((length, i) => length === 1 || (i === shape.length - 3 && i < 2));
  if (!perChannel || (shape?.length ?? 0) < 3 || value?.tensor?.size !== channels) return undefined;
  if (value!.shape?.length === 1) return { add, value: value! };
  const flat = new Tensor(value!.dtype!, [channels!], () => value!.tensor!.data);
  return { add, value: graph.addConstant(graph.uniqueName(value!.name), flat) };
}

/** The scale that belongs to numbers, by the node that made them. */
function scaleOf({ producer }: Value): Value | undefined {
  if (producer?.op === 'DynamicQuantizeLinear') return producer.outputs[1];
  return producer?.op === 'QuantizeLinear' ? producer.inputs[1] : undefined;
}

/** The scales of both operands; undefined where the factors do not tell them. */
function scalesOf(
  graph: Graph,
  node: Node,
  factors: readonly Value[],
  axis: 0 | -1,
): readonly [Value, Value] | undefined {
  const [x, w] = [node.input(0), node.input(1)];
  const left = [...factors];
  const take = (scale: Value | undefined) => {
    const at = scale ? left.indexOf(scale) : -1;
    return at < 0 ? undefined : left.splice(at, 1)[0];
  };
  const [own, other] = [take(scaleOf(x)), take(scaleOf(w))];
  if (own && other) return left.length ? undefined : [own, other];
  const [rest] = left;
  if (left.length !== 1 || !rest?.tensor || rest.dtype !== 'float32') return undefined;
  if (own) {
    const scale = weightScale(graph, w, rest, axis, 1);
    return scale && [own, scale];
  }
  const known = scaleOf(x);
  if (other || known?.tensor?.size !== 1 || known.dtype !== 'float32') return undefined;
  const scale = weightScale(graph, w, rest, axis, known.tensor.floats[0]!);
  return scale && [known, scale];
}

/** A factor of the sums as the scale of a weight: one number, or one for each of its channels. */
function weightScale(
  graph: Graph,
  weight: Value,
  factor: Value,
  axis: 0 | -1,
  divisor: number,
): Value | undefined {
  const { size, shape, floats } = factor.tensor!;
  const channels = weight.tensor?.shape.at(axis);
  // Behind a convolution channels are the second axis of [N, C, H, W], behind a product the last.
  const lies = axis === 0 ? shape.length >= 3 && shape.at(-3) === size : shape.at(-1) === size;
  if (size !== 1 && (size !== channels || !lies)) return undefined;
  if (divisor === 1 && shape.length <= 1) return factor;
  const scale = Tensor.float32(
    size === 1 ? [] : [size],
    divisor === 1 ? floats : floats.map((value) => value / divisor),
  );
  return graph.addConstant(graph.uniqueName(factor.name), scale);
}
