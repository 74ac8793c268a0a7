import type { Graph, Node, Value } from '../../graph/graph.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { type OpName, rowOf, rowsFor } from '../../graph/schema/signature.ts';
import { elementCount, type NumericType, Tensor, type TypedArray } from '../../graph/tensor.ts';
import { checked, checkedScale, type Quantities } from './dequantized.ts';

/** Ops whose weight stays in integers, and what hands a weight on to them, keyed by `Node.op`. */
const weighs: { readonly [O in OpName]?: 'weight' | 'handed on' } = {
  ...rowsFor('MatMul Gemm Conv ConvTranspose com.microsoft.Attention com.microsoft.FusedMatMul', 'weight'),
  ...rowsFor('Transpose Reshape Identity', 'handed on'),
};

/** What is put behind the name of a tensor for its integers. */
const ending = /_(?:quantized|(?:DQ_)?Q[48])$/;

/** Types whose elements are numbers here. */
const plain = new Set<string | undefined>(['int8', 'uint8', 'int16', 'uint16', 'int32']);

/** Weights that stay in integers, and what they were in the file. */
export interface StoredWeights {
  readonly values: readonly Value[];
  readonly types: ReadonlySet<string>;
  readonly granularity: 'channel' | 'matrix' | 'block';
}

/**
 * Brings the integers that a file stores to one form, in place.
 * 1. A scale or zero point of one element is a scalar.
 * 2. A constant that the file rounds when it is run (`QuantizeLinear` of it) is stored rounded.
 * 3. Zero points of weights that are all 0 are left out.
 * 4. What is no weight of a layer (biases, norms, positions) is float32 again, the numbers that the integers stand for.
 * 5. `NAME_quantized` (in blocks: `NAME_Q4`, `NAME_DQ_Q4`) is called NAME, as the tensor that it was made from.
 *
 * It does not fire on scales of blocks and on types of less than 8 bits.
 * @throws UserError at a scale or zero point that can't be what it says
 */
export function storedNumbers(graph: Graph): StoredWeights {
  const weights = new Set<Value>();
  const types = new Set<string>();
  const names = new Map<Value, string>();
  let granularity: StoredWeights['granularity'] = 'matrix';
  for (const node of [...graph.nodes]) {
    if (node.op === 'QuantizeLinear') {
      checkedScale(node, node.input(1));
      roundStored(graph, node);
    }
    if (node.op !== 'DequantizeLinear' && node.op !== 'QuantizeLinear') continue;
    for (const parameter of [node.inputs[1], node.inputs[2]]) if (parameter) asScalar(graph, parameter);
  }
  for (const node of [...graph.nodes]) {
    if (node.op !== 'DequantizeLinear') continue;
    const numbers = node.input(0);
    const quantities = checked(node, { numbers, scale: node.input(1), zeroPoint: node.inputs[2] });
    if (!numbers.tensor || !quantities.scale.tensor) continue;
    const inBlocks = argumentsOf<'DequantizeLinear'>(node).block_size > 0;
    const simple = plain.has(numbers.dtype) && !inBlocks;
    if (!isWeight(node.output())) {
      if (simple) widen(graph, node, quantities, names);
      continue;
    }
    weights.add(numbers);
    types.add(numbers.dtype!);
    if (inBlocks) granularity = 'block';
    else if (quantities.scale.tensor.size > 1) granularity = 'channel';
    if (simple) simpleZeros(graph, node, quantities);
  }
  graph.removeDead();
  for (const value of [...graph.constants.values()]) {
    const name = (names.get(value) ?? value.name).replace(ending, '');
    if (value.name !== name && graph.uniqueName(name) === name) graph.rename(value, name);
  }
  return { values: [...weights], types, granularity };
}

function isWeight(value: Value): boolean {
  return value.uses.some(({ node, index }) => {
    const row = rowOf(weighs, node);
    if (row === 'handed on') return index === 0 && node.outputs.some((output) => output && isWeight(output));
    return row === 'weight' && (value.shape?.length ?? 0) > 1 && (index === 1 || node.op.endsWith('MatMul'));
  });
}

function asScalar(graph: Graph, value: Value): void {
  const { tensor } = value;
  if (tensor?.size !== 1 || tensor.shape.length === 0 || graph.outputs.includes(value)) return;
  const quantizes = ({ op }: Node) => op === 'QuantizeLinear' || op === 'DequantizeLinear';
  if (!value.uses.every(({ node, index }) => index > 0 && quantizes(node))) return;
  graph.setConstant(value, new Tensor(tensor.dtype, [], () => tensor.data));
}

const limits: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
};

/** The number of a channel for each element: `elements` of a tensor along `axis`, or one for all. */
function along(tensor: Tensor, shape: readonly number[], axis: number): (element: number) => number {
  const values = tensor.data as ArrayLike<number>;
  if (tensor.size === 1) return () => values[0]!;
  const at = axis < 0 ? axis + shape.length : axis;
  const inside = elementCount(shape.slice(at + 1));
  const length = shape[at]!;
  return (element) => values[Math.floor(element / inside) % length]!;
}

const even = (value: number): number => {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
};

/** A constant that is rounded at run time, rounded: its quotient in float32, half to even, saturating. */
function roundStored(graph: Graph, node: Node): void {
  const [x, scale, zeroPoint] = [node.input(0), node.inputs[1], node.inputs[2]];
  const { axis, block_size: blocks } = argumentsOf<'QuantizeLinear'>(node);
  const dtype = zeroPoint?.dtype ?? 'uint8';
  const range = limits[dtype];
  if (x.dtype !== 'float32' || !x.tensor || !scale?.tensor || scale.dtype !== 'float32') return;
  if (blocks || !range || (zeroPoint && !zeroPoint.tensor)) return;
  const source = x.tensor;
  const rounded = new Tensor(dtype, source.shape, () => {
    const [step, zero] = [scale.tensor!, zeroPoint?.tensor].map(
      (tensor) => tensor && along(tensor, source.shape, axis),
    );
    const to = Tensor.zeros(dtype as NumericType, source.shape).data as TypedArray;
    source.floats.forEach((value, i) => {
      const number = even(Math.fround(value / step!(i))) + (zero?.(i) ?? 0);
      to[i] = Math.min(range[1], Math.max(range[0], number));
    });
    return to;
  });
  graph.replaceUses(node.output(), graph.addConstant(graph.uniqueName(`${x.name}_quantized`), rounded));
}

/** Leaves zero points of 0 out, and repeats one that is for all channels as often as there are scales. */
function simpleZeros(graph: Graph, node: Node, { numbers, scale, zeroPoint }: Quantities): void {
  const zeros = zeroPoint?.tensor?.integers;
  if (!zeros) return;
  const { size, shape } = scale.tensor!;
  if (zeros.every((zero) => zero === 0)) node.setInput(2, undefined);
  else if (zeros.length !== size) {
    const each = Tensor.zeros(numbers.dtype as NumericType, shape).data as TypedArray;
    const repeated = new Tensor(numbers.dtype!, shape, each.fill(zeros[0] as never));
    node.setInput(2, graph.addConstant(graph.uniqueName(zeroPoint!.name), repeated));
  }
}

/** The reals that stored integers stand for, in float32, read when they are asked for. @param names what constants are to be called */
function widen(
  graph: Graph,
  node: Node,
  { numbers, scale, zeroPoint }: Quantities,
  names: Map<Value, string>,
): void {
  const { tensor } = numbers;
  const { axis } = argumentsOf<'DequantizeLinear'>(node);
  if (scale.dtype !== 'float32' || (zeroPoint && !zeroPoint.tensor)) return;
  const [scales, zeros] = [scale.tensor!, zeroPoint?.tensor];
  const wide = new Tensor('float32', tensor!.shape, () => {
    const [step, zero] = [scales, zeros].map((each) => each && along(each, tensor!.shape, axis));
    return Float32Array.from(
      tensor!.data as ArrayLike<number>,
      (number, i) => (number - (zero?.(i) ?? 0)) * step!(i),
    );
  });
  const constant = graph.addConstant(graph.uniqueName(`${numbers.name}_wide`), wide);
  names.set(constant, numbers.name);
  graph.replaceUses(node.output(), constant);
  graph.removeNodes([node]);
}
