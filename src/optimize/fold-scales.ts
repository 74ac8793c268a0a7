import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { linears, soleReader } from '../graph/linear.ts';
import { replaceValue } from '../graph/replace.ts';

/**
 * Takes a factor for each channel behind a linear layer (layer scale) into the layer's weights, in place,
 * as ops on constants that constant folding then computes.
 * 1. `Mul(x W + b, c)` becomes `x (W c) + b c`, c a constant scalar or one number an output channel.
 * 2. Behind a `DynamicQuantizeMatMul` the int8 weights stay and their scales take the factor.
 *
 * It does not fire when somebody else reads the unscaled result, or the weight or bias serves another
 * layer too.
 *
 * @returns how many factors were folded
 */
export function foldScales(graph: Graph): number {
  let count = 0;
  for (const { output, weight, bias, layout, product } of linears(graph)) {
    const factor = factorBehind(graph, output);
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
    replaceMul(graph, factor.mul, output);
    count++;
  }
  for (const node of [...graph.nodes]) {
    if (node.op !== 'com.microsoft.DynamicQuantizeMatMul') continue;
    const factor = factorBehind(graph, node.output());
    if (!factor || !node.input(2).isConstant || (node.inputs[4] && !node.inputs[4].isConstant)) continue;
    const b = new Builder(graph, node);
    node.setInput(2, b.op('Mul', [node.input(2), factor.value]));
    if (node.inputs[4]) node.setInput(4, b.op('Mul', [node.inputs[4], factor.value]));
    replaceMul(graph, factor.mul, node.output());
    count++;
  }
  return count;
}

function replaceMul(graph: Graph, mul: Node, output: Value): void {
  replaceValue(graph, mul.output(), output);
  graph.removeNodes([mul]);
}

function factorBehind(graph: Graph, output: Value): { mul: Node; value: Value } | undefined {
  const mul = soleReader(graph, output);
  if (mul?.op !== 'Mul') return undefined;
  const value = mul.input(mul.input(0) === output ? 1 : 0);
  const channels = output.shape?.at(-1);
  const fits = value.shape?.length === 0 || (value.shape?.length === 1 && value.shape[0] === channels);
  return value.isConstant && value.dtype === 'float32' && fits ? { mul, value } : undefined;
}
