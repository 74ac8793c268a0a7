import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { linears } from '../graph/linear.ts';
import { otherOperand, permutes, soleReader } from '../graph/patterns.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { Tensor } from '../graph/tensor.ts';

/** What a layer's output channels are multiplied by, further on. */
interface Factor {
  /** One number an output channel, or one for all. */
  value: Value | Tensor;
  /** The multiplications, each with what it multiplies. */
  muls: { mul: Node; of: Value }[];
}

/** Where int8 products have the scale of their weights, and their bias. */
const int8Products = new Map([
  ['com.microsoft.DynamicQuantizeMatMul', { scale: 2, bias: 4 }],
  ['com.microsoft.MatMulIntegerToFloat', { scale: 3, bias: 6 }],
]);

/**
 * Takes a factor for each channel behind a linear layer into the layer's weights, in place, as ops on
 * constants that constant folding then computes.
 * 1. `Mul(x W + b, c)` becomes `x (W c) + b c`, c a constant scalar or one number an output channel (layer
 *    scale).
 * 2. Behind an int8 product of one operator the int8 weights stay and their scales take the factor. They stay
 *    positive, as QNNPACK demands, and one scale for all channels stays one.
 * 3. A constant scalar on parts of the result, packed as by `packHeads` (attention's scale of the
 *    queries), is a factor for those parts' channels.
 *
 * It does not fire when somebody else reads the unscaled result, or the weight or bias serves another
 * layer too.
 *
 * @returns how many layers took a factor
 */
export function foldScales(graph: Graph): number {
  let count = 0;
  for (const find of [factorBehind, factorOnParts]) {
    for (const { output, weight, bias, layout, product } of linears(graph)) {
      const factor = find(graph, output);
      if (!factor || product.op === 'Gemm' || weight.uses.length > 1 || (bias && bias.uses.length > 1))
        continue;
      const b = new Builder(graph, product);
      const columns = layout === 'out,in' ? product.input(1) : weight;
      if (columns.uses.length > 1) continue;
      product.setInput(1, b.op('Mul', [columns, factor.value]));
      if (bias) {
        const add = output.producer!;
        add.setInput(add.input(0) === bias ? 0 : 1, b.op('Mul', [bias, factor.value]));
      }
      remove(graph, factor);
      count++;
    }
    for (const node of [...graph.nodes]) {
      const places = int8Products.get(node.op);
      if (!places) continue;
      const factor = find(graph, node.output());
      const [scale, bias] = [node.input(places.scale), node.inputs[places.bias]];
      if (!factor || !scale.isConstant || (bias && !bias.isConstant)) continue;
      const { size, floats } = factor.value instanceof Tensor ? factor.value : factor.value.tensor!;
      if (size > scale.tensor!.size || !floats.every((number) => number > 0)) continue;
      const b = new Builder(graph, node);
      node.setInput(places.scale, b.op('Mul', [scale, factor.value]));
      if (bias) node.setInput(places.bias, b.op('Mul', [bias, factor.value]));
      remove(graph, factor);
      count++;
    }
  }
  return count;
}

function remove(graph: Graph, { muls }: Factor): void {
  for (const { mul, of } of muls) replaceValue(graph, mul.output(), of);
  graph.removeNodes(muls.map(({ mul }) => mul));
}

function factorBehind(graph: Graph, output: Value): Factor | undefined {
  const found = multiplied(graph, output);
  if (!found) return undefined;
  const { mul, by } = found;
  const channels = output.shape?.at(-1);
  const fits = by.shape?.length === 0 || (by.shape?.length === 1 && by.shape[0] === channels);
  return fits ? { value: by, muls: [{ mul, of: output }] } : undefined;
}

function factorOnParts(graph: Graph, output: Value): Factor | undefined {
  const channels = output.shape?.at(-1);
  const boxed = soleReader(graph, output);
  if (output.shape?.length !== 3 || typeof channels !== 'number' || boxed?.op !== 'Reshape') return undefined;
  const headsFirst = soleReader(graph, boxed.output());
  if (!permutes(headsFirst, [0, 2, 1, 3])) return undefined;
  const split = soleReader(graph, headsFirst.output());
  if (split?.op !== 'Split') return undefined;
  const { axis, split: sizes } = argumentsOf<'Split'>(split);
  if (axis !== 1 || sizes) return undefined;
  const factors = new Float32Array(channels).fill(1);
  const muls: Factor['muls'] = [];
  let from = 0;
  for (const of of split.outputs) {
    const [, heads, , width] = of?.shape ?? [];
    if (!of || typeof heads !== 'number' || typeof width !== 'number') return undefined;
    const found = multiplied(graph, of);
    if (found?.by.shape?.length === 0) {
      factors.fill(found.by.tensor!.floats[0]!, from, from + heads * width);
      muls.push({ mul: found.mul, of });
    }
    from += heads * width;
  }
  return muls.length > 0 ? { value: Tensor.float32([channels], factors), muls } : undefined;
}

/** The `Mul` by a float32 constant that alone reads a value. */
function multiplied(graph: Graph, value: Value): { mul: Node; by: Value } | undefined {
  const mul = soleReader(graph, value);
  if (mul?.op !== 'Mul') return undefined;
  const by = otherOperand(mul, value);
  return by.isConstant && by.dtype === 'float32' ? { mul, by } : undefined;
}
