import type { Graph, Node, Value } from '../../graph/graph.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { producerOf } from '../../onnx/read.ts';
import { expandOperators } from './expand-operators.ts';
import { integerProducts } from './integer-products.ts';
import { type ForeignQuantization, noteForeignQuantization } from './note.ts';
import { roundingLast } from './rounding-last.ts';
import { type StoredWeights, storedNumbers } from './stored-numbers.ts';

/** Operators whose activations are in integers of a range that is found at run time. */
const atRunTime = new Set(['DynamicQuantizeLinear', 'com.microsoft.DynamicQuantizeMatMul']);

/**
 * Writes what another tool quantized as operators on reals between `DequantizeLinear` and `QuantizeLinear`, whatever the format, in
 * place, and notes what the file was like. It computes the same but for how float32 sums are rounded.
 * @returns whether there was any
 * @throws UserError at a scale or zero point that can't be what it says
 */
export function quantized(graph: Graph): boolean {
  const dynamic = graph.nodes.some(({ op }) => atRunTime.has(op));
  const operators = expandOperators(graph);
  integerProducts(graph);
  roundingLast(graph);
  const activations = new Set(graph.nodes.flatMap(roundedType));
  const stored = storedNumbers(graph);
  const blocks = graph.nodes.filter(({ op }) => op === 'com.microsoft.MatMulNBits');
  if (!operators && !dynamic && !activations.size && !stored.values.length && !blocks.length) return false;
  const format = operators ? 'QOperator' : dynamic ? 'dynamic' : activations.size ? 'QDQ' : 'weights only';
  noteForeignQuantization(graph, {
    ...{ format, ...toolOf(graph), activations: [...activations], ...described(stored, blocks) },
  });
  return true;
}

function roundedType({ op, inputs, outputs }: Node): string[] {
  if (op === 'DynamicQuantizeLinear' || op === 'com.microsoft.DynamicQuantizeMatMul') return ['uint8'];
  if (op !== 'QuantizeLinear' || inputs[0]?.isConstant) return [];
  return [outputs[0]?.dtype ?? 'uint8'];
}

/** What weights are like. @param blocks the products whose weights lie in blocks; they stay as they are */
function described({ values, types, granularity }: StoredWeights, blocks: readonly Node[]) {
  const inBlocks = blocks.map((node) => `int${argumentsOf<'com.microsoft.MatMulNBits'>(node).bits}`);
  return {
    weights: [...new Set([...types, ...inBlocks])],
    granularity: blocks.length ? ('block' as const) : granularity,
    sevenBits: values.length > 0 && !blocks.length && values.every(keepsSevenBits),
  };
}

/** Whether the sum of two products with uint8 fits 16 bits, whatever they are. */
function keepsSevenBits({ tensor }: Value): boolean {
  if (tensor?.dtype !== 'int8') return false;
  const fits = (tensor.data as Int8Array).every((number) => number >= -64 && number <= 64);
  tensor.release();
  return fits;
}

/** Quantizers, by the names that they write into files; others leave that of the exporter. */
const tools: Readonly<Record<string, string>> = { 'onnx.quantize': "onnxruntime's quantizer" };

function toolOf(graph: Graph): Pick<ForeignQuantization, 'tool'> {
  const name = producerOf(graph)?.split(' ')[0] ?? '';
  return Object.hasOwn(tools, name) ? { tool: tools[name]! } : {};
}
