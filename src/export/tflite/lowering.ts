import { UserError } from '../../common/errors.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import type { OpArguments, OpName } from '../../graph/schema/signature.ts';
import { type NumericType, Tensor } from '../../graph/tensor.ts';
import type { FileTensor, Operator } from './program.ts';
import type { BuiltinName } from './schema.ts';

/** How one op becomes LiteRT operators. Returns what stands for the node's output (an array: for each of them). */
export type LoweringRule<A> = (node: Node, args: A, lower: Lowering) => FileTensor | readonly FileTensor[];

export type LoweringRules = { readonly [O in OpName]?: LoweringRule<OpArguments[O]> };

/** float16 and int8 weights are widened by what reads them. */
const resultOf = (operand: FileTensor | undefined): NumericType =>
  operand?.dtype === 'float16' || operand?.dtype === 'int8' ? 'float32' : (operand?.dtype ?? 'float32');

/** The lowering of one graph of known shapes in progress: which tensor of the file stands for which value. */
export class Lowering {
  readonly graph: Graph;
  readonly operators: Operator[] = [];
  readonly #bound = new Map<Value, FileTensor>();
  readonly #transposed = new Map<FileTensor, { from: FileTensor; perm: readonly number[] }>();
  #made = 0;

  constructor(graph: Graph) {
    this.graph = graph;
  }

  bind(node: Node, result: FileTensor | readonly FileTensor[]): void {
    const results = 'name' in result ? [result] : result;
    node.outputs.forEach((output, i) => {
      if (!output) return;
      const made = results[i];
      if (made) this.#bound.set(output, made);
      else if (output.uses.length || this.graph.outputs.includes(output))
        throw this.unsupported(node, `its output ${output.name} is not computed`);
    });
  }

  /** An input of the file. */
  input(value: Value, shape: readonly number[], stands: (tensor: FileTensor) => FileTensor): FileTensor {
    const dtype = value.dtype === 'uint8' ? 'uint8' : 'float32';
    const tensor: FileTensor = { name: value.name, dtype, shape };
    this.#bound.set(value, stands(tensor));
    return tensor;
  }

  /** A node that has a rule, but not for this. */
  unsupported(node: Node, what: string): UserError {
    return new UserError(`${node.label}: ${what}; can't export this graph to TFLite`);
  }

  /** The tensor for a value. float16 constants are widened in the file; int64 ones are int32 there. */
  tensor(value: Value): FileTensor {
    let found = this.#bound.get(value);
    if (!found) {
      if (!value.tensor) throw new UserError(`${value.name} is read before it is made`);
      found = this.constant(value.tensor, value.name);
      this.#bound.set(value, found);
    }
    return found;
  }

  /** A constant of the file. */
  constant(
    tensor: Tensor,
    name = this.#name('constant'),
    scales?: Float32Array,
    scaledAxis = 0,
    zeroPoints?: readonly number[],
  ): FileTensor {
    const { dtype, shape } = tensor;
    if (dtype === 'int64') return this.integers(tensor.integers, shape, name);
    if (dtype === 'float16') {
      const stored: FileTensor = { name: `${name}.float16`, dtype, shape, data: tensor };
      return this.call('DEQUANTIZE', [stored], shape, {}, name);
    }
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'int8' && dtype !== 'bool')
      throw new UserError(`${name} is ${dtype}; can't export this graph to TFLite`);
    const quantization = scales && { scales, scaledAxis, ...(zeroPoints && { zeroPoints }) };
    return { name, dtype, shape, data: tensor, ...quantization };
  }

  /** int32 numbers, as shapes and axes are. */
  integers(
    values: readonly number[],
    shape: readonly number[] = [values.length],
    name = this.#name('constant'),
  ): FileTensor {
    return { name, dtype: 'int32', shape, data: new Tensor('int32', shape, Int32Array.from(values)) };
  }

  number(value: number): FileTensor {
    return this.constant(Tensor.float32([], [value]));
  }

  /** Adds an operator with one result, of the type of its first operand unless another is said. */
  call(
    builtin: BuiltinName,
    inputs: readonly (FileTensor | undefined)[],
    shape: readonly number[],
    options: Operator['options'] = {},
    name = this.#name(builtin),
    dtype: NumericType = resultOf(inputs[0]),
  ): FileTensor {
    const output: FileTensor = { name, dtype, shape };
    this.operators.push({ builtin, inputs, outputs: [output], options });
    return output;
  }

  /** Adds an operator with several results. */
  callSeveral(
    builtin: BuiltinName,
    inputs: readonly FileTensor[],
    shapes: readonly (readonly number[])[],
    options: Operator['options'],
  ): FileTensor[] {
    const outputs = shapes.map(
      (shape): FileTensor => ({ name: this.#name(builtin), dtype: inputs.at(-1)!.dtype, shape }),
    );
    this.operators.push({ builtin, inputs, outputs, options });
    return outputs;
  }

  /** Elementwise on two tensors, the smaller spread over the larger. */
  binary(builtin: BuiltinName, a: FileTensor, b: FileTensor, dtype?: NumericType): FileTensor {
    const rank = Math.max(a.shape.length, b.shape.length);
    const at = (shape: readonly number[], i: number) => shape[i - rank + shape.length] ?? 1;
    const shape = Array.from({ length: rank }, (_, i) =>
      at(a.shape, i) === 1 ? at(b.shape, i) : at(a.shape, i),
    );
    return this.call(builtin, [a, b], shape, {}, undefined, dtype);
  }

  reshape(x: FileTensor, shape: readonly number[]): FileTensor {
    return this.call('RESHAPE', [x, this.integers(shape)], shape);
  }

  /** With its axes in another order; what was just put into that order from this one is taken as it was. */
  transpose(x: FileTensor, perm: readonly number[]): FileTensor {
    const before = this.#transposed.get(x);
    if (before && perm.every((axis, i) => before.perm[axis] === i)) return before.from;
    const shape = perm.map((axis) => x.shape[axis]!);
    const made = this.call('TRANSPOSE', [x, this.integers(perm)], shape);
    this.#transposed.set(made, { from: x, perm });
    return made;
  }

  /** Mean, sum or largest over axes, which stay with length 1. */
  reduce(
    builtin: 'MEAN' | 'SUM' | 'REDUCE_MAX' | 'REDUCE_MIN',
    x: FileTensor,
    axes: readonly number[],
  ): FileTensor {
    const shape = x.shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
    return this.call(builtin, [x, this.integers(axes)], shape, { keepDims: true });
  }

  #name(hint: string): string {
    return `${hint.toLowerCase()}_${this.#made++}`;
  }
}
