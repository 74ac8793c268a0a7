import type { Builder } from '../../graph/builder.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { otherOperand, permutes, soleReader } from '../../graph/patterns.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { Tensor } from '../../graph/tensor.ts';
import { scopedBuilder } from '../recognize/linear.ts';

/** A matrix that a file stores in integers, `[in, out]`. */
interface StoredMatrix {
  readonly numbers: Value;
  /** A number an output channel, or one for all. */
  readonly scale: Value;
  readonly zeroPoint: Value | undefined;
}

/**
 * Writes fully connected layers whose weights are stored in integers as `quantize` writes them, in place.
 * 1. The weight lies `[in, out]`: a `Gemm`, or a `MatMul` with a transposed weight, becomes a `MatMul` and an `Add`.
 * 2. One of activations whose range is found at run time is one `com.microsoft.DynamicQuantizeMatMul`, bias included.
 * 3. Others stay `MatMul` of two `DequantizeLinear`, with the bias in an `Add` behind it.
 *
 * It does not fire on scales along the inputs or in blocks, and a Gemm that scales or turns what it reads.
 */
export function storedLinears(graph: Graph): void {
  const turned = new Map<Value, Value>();
  for (const node of [...graph.nodes]) {
    if (node.op === 'Gemm') gemm(graph, node, turned);
    else if (node.op === 'MatMul') product(graph, node, turned);
  }
  graph.removeDead();
  for (const [from, to] of turned) {
    if (!graph.constants.has(from.name)) graph.rename(to, from.name);
  }
}

function gemm(graph: Graph, node: Node, turned: Map<Value, Value>): void {
  const { alpha, beta, transA, transB } = argumentsOf<'Gemm'>(node);
  const bias = node.inputs[2];
  if (alpha !== 1 || transA || (bias && beta !== 1)) return;
  const b = scopedBuilder(graph, node);
  const matrix = storedMatrix(graph, node.input(1), transB === 1, turned);
  if (!matrix) return;
  const made = b.op('MatMul', [node.input(0), widened(b, matrix)], {}, 'matmul');
  replaceValue(graph, node.output(), bias ? b.op('Add', [made, bias], {}, 'add') : made);
  graph.removeNodes([node]);
  product(graph, made.producer!, turned);
}

const widened = (b: Builder, { numbers, scale, zeroPoint }: StoredMatrix): Value =>
  b.op(
    'DequantizeLinear',
    zeroPoint ? [numbers, scale, zeroPoint] : [numbers, scale],
    scale.shape?.length ? { axis: 1 } : undefined,
    'weight',
  );

function product(graph: Graph, node: Node, turned: Map<Value, Value>): void {
  const matrix = storedMatrix(graph, node.input(1), false, turned);
  if (!matrix) return;
  const b = scopedBuilder(graph, node);
  const add = soleReader(graph, node.output());
  const other = add?.op === 'Add' ? otherOperand(add, node.output()) : undefined;
  const bias = other?.isConstant && `${other.shape}` === `${matrix.numbers.shape![1]}` ? other : undefined;
  const input = roundedAtRunTime(node.input(0));
  if (input) {
    const { numbers, scale, zeroPoint } = matrix;
    const operands = [input, numbers, scale, zeroPoint, bias];
    while (operands.at(-1) === undefined) operands.pop();
    const made = b.op('com.microsoft.DynamicQuantizeMatMul', operands, {}, 'matmul');
    replaceValue(graph, bias ? add!.output() : node.output(), made);
    return;
  }
  const w = node.input(1).producer!;
  const plain = w.op === 'DequantizeLinear' && w.input(0) === matrix.numbers;
  if (!plain) node.setInput(1, widened(b, matrix));
  if (bias && add!.input(1) !== bias) {
    add!.setInput(0, node.output());
    add!.setInput(1, bias);
  }
}

/** What an activation was before it was rounded, where that was done in a range found at run time. */
function roundedAtRunTime({ producer }: Value): Value | undefined {
  if (producer?.op !== 'DequantizeLinear') return undefined;
  const { producer: rounding } = producer.input(0);
  const own = rounding?.op === 'DynamicQuantizeLinear' && rounding.outputs[1] === producer.inputs[1];
  return own && rounding.outputs[2] === producer.inputs[2] ? rounding.input(0) : undefined;
}

/** @param transposed whether rows are what is read as columns */
function storedMatrix(
  graph: Graph,
  value: Value,
  transposed: boolean,
  turned: Map<Value, Value>,
): StoredMatrix | undefined {
  const { producer } = value;
  const moved: boolean = permutes(producer, [1, 0]);
  if (moved) return storedMatrix(graph, producer!.input(0), !transposed, turned);
  if (producer?.op !== 'DequantizeLinear') return undefined;
  const [numbers, scale, zeroPoint] = [producer.input(0), producer.input(1), producer.inputs[2]];
  if (numbers.tensor?.shape.length !== 2 || !scale.tensor || (zeroPoint && !zeroPoint.tensor))
    return undefined;
  const { axis, block_size: blocks } = argumentsOf<'DequantizeLinear'>(producer);
  const channels = transposed ? 0 : 1;
  if (blocks || (scale.tensor.size > 1 && (axis + 2) % 2 !== channels)) return undefined;
  if (!transposed) return { numbers, scale, zeroPoint };
  let made = turned.get(numbers);
  if (!made) {
    made = graph.addConstant(graph.uniqueName(`${numbers.name}_t`), exchanged(numbers.tensor));
    turned.set(numbers, made);
  }
  return { numbers: made, scale, zeroPoint };
}

/** Rows and columns exchanged, when they are asked for. */
function exchanged(source: Tensor): Tensor {
  const [rows, columns] = source.shape as [number, number];
  return new Tensor(source.dtype, [columns, rows], () => {
    const from = source.data as Int8Array;
    const to = from.slice();
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++)
        to[column * rows + row] = from[row * columns + column]!;
    }
    source.release();
    return to;
  });
}
