import { Builder } from '../../graph/builder.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { otherOperand, soleReader } from '../../graph/patterns.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { type NumericType, Tensor, type TypedArray } from '../../graph/tensor.ts';
import { moduleOf } from '../value-names.ts';

/**
 * Writes fully connected layers as our builders do, `Transpose -> MatMul -> Add`, with the weight `[out, in]`.
 * 1. `MatMul(x, W)`, W a constant `[in, out]`, and the `Add` of a constant `[out]` on either side.
 * 2. `Gemm(x, W, b)` with alpha = beta = 1, x not transposed, b absent or a constant `[out]`.
 *
 * A weight of several layers stays one. It does not fire on weights that are no float32, and on constants in front.
 */
export function linear(graph: Graph): void {
  const turned = new Map<Value, Value>();
  for (const node of [...graph.nodes]) {
    if (node.op === 'MatMul') product(graph, node, turned);
    else if (node.op === 'Gemm') gemm(graph, node, turned);
  }
  for (const [weight, made] of turned) {
    if (weight.uses.length > 0 || graph.outputs.includes(weight)) continue;
    graph.removeConstant(weight);
    graph.rename(made, weight.name);
  }
}

const isMatrix = (value: Value | undefined): value is Value =>
  value?.tensor !== undefined && value.dtype === 'float32' && value.shape?.length === 2;

function product(graph: Graph, node: Node, turned: Map<Value, Value>): void {
  const [x, weight] = [node.input(0), node.input(1)];
  if (!isMatrix(weight) || (x.shape?.length ?? 0) < 2) return;
  const b = scopedBuilder(graph, node);
  node.setInput(1, transposed(b, turnedWeight(graph, weight, turned)));
  const add = soleReader(graph, node.output());
  if (add?.op !== 'Add') return;
  const bias = otherOperand(add, node.output());
  if (isVector(bias, weight.shape![1] as number) && add.input(1) !== bias) {
    add.setInput(0, node.output());
    add.setInput(1, bias);
  }
}

const isVector = (value: Value, length: number): boolean =>
  value.isConstant && value.shape?.length === 1 && value.shape[0] === length;

function gemm(graph: Graph, node: Node, turned: Map<Value, Value>): void {
  const { alpha, beta, transA, transB } = argumentsOf<'Gemm'>(node);
  const [x, weight, bias] = [node.input(0), node.input(1), node.inputs[2]];
  if (transA || alpha !== 1 || !isMatrix(weight)) return;
  const channels = weight.shape![transB ? 0 : 1] as number;
  if (bias && (beta !== 1 || !isVector(bias, channels))) return;
  const b = scopedBuilder(graph, node);
  const out = transB ? weight : turnedWeight(graph, weight, turned);
  const made = b.op('MatMul', [x, transposed(b, out)], {}, 'matmul');
  replaceValue(graph, node.output(), bias ? b.op('Add', [made, bias], {}, 'add') : made);
  graph.removeNodes([node]);
}

/** A builder before a node that names what it adds by the node's module. */
export function scopedBuilder(graph: Graph, node: Node): Builder {
  return new ModuleBuilder(graph, node, moduleOf(node.output().name));
}

class ModuleBuilder extends Builder {
  readonly #module: string | undefined;

  constructor(graph: Graph, before: Node, module: string | undefined) {
    super(graph, before);
    this.#module = module;
  }

  override scoped(name: string): string {
    return this.#module ? `${this.#module}.${name}` : name;
  }
}

const transposed = (b: Builder, weight: Value): Value =>
  b.op('Transpose', [weight], { perm: [1, 0] }, 'weight_t');

/** The constant with rows and columns exchanged, read when its elements are asked for. */
function turnedWeight(graph: Graph, weight: Value, turned: Map<Value, Value>): Value {
  let made = turned.get(weight);
  if (!made) {
    made = graph.addConstant(graph.uniqueName(`${weight.name}_t`), exchanged(weight.tensor!));
    turned.set(weight, made);
  }
  return made;
}

function exchanged(source: Tensor): Tensor {
  const [rows, columns] = source.shape as [number, number];
  return new Tensor(source.dtype as NumericType, [columns, rows], () => {
    const from = source.data as Float32Array;
    const to = new Float32Array(from.length);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++)
        to[column * rows + row] = from[row * columns + column]!;
    }
    source.release();
    return to as TypedArray;
  });
}
