import type { NumericType, Tensor } from '../../graph/tensor.ts';
import type { BuiltinName } from './schema.ts';

/** A tensor of the file: an input, a constant (it has `data`), or an operator's output. */
export interface FileTensor {
  readonly name: string;
  readonly dtype: NumericType;
  readonly shape: readonly number[];
  readonly data?: Tensor;
  /** Of int8 constants: one a row of an axis, by default the first. */
  readonly scales?: Float32Array;
  readonly scaledAxis?: number;
  /** As many as scales; default 0. */
  readonly zeroPoints?: readonly number[];
}

export interface Operator {
  readonly builtin: BuiltinName;
  readonly inputs: readonly (FileTensor | undefined)[];
  readonly outputs: readonly FileTensor[];
  readonly options: Readonly<Record<string, number | boolean>>;
}

/** A graph in LiteRT operators, in the order they run. */
export interface Program {
  readonly inputs: readonly { readonly name: string; readonly tensor: FileTensor }[];
  readonly outputs: readonly { readonly name: string; readonly tensor: FileTensor }[];
  readonly operators: readonly Operator[];
  /** Notes by name: architecture, preprocessing, classes. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Without the operators whose results nobody reads. */
export function live(program: Program): Program {
  const read = new Set<FileTensor | undefined>(program.outputs.map(({ tensor }) => tensor));
  const operators = program.operators.toReversed().filter(({ inputs, outputs }) => {
    if (!outputs.some((output) => read.has(output))) return false;
    for (const input of inputs) read.add(input);
    return true;
  });
  return { ...program, operators: operators.reverse() };
}
