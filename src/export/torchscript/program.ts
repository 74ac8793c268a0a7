import type { Tensor } from '../../graph/tensor.ts';

/**
 * A straight line of ATen calls: what a graph is lowered to, and what both files are printed from.
 * TorchScript's source gets a statement a call, the Lite Interpreter's bytecode a few instructions.
 */
export interface Program {
  /** Arguments of `forward`, in order. */
  inputs: Variable[];
  calls: Call[];
  outputs: Operand[];
  /** The module's own: parameters and buffers by their dotted names, used by a call or not. */
  state: Weight[];
}

/** One call of an operator such as `aten::conv2d` or `aten::add.Tensor` (after the dot, the overload). */
export interface Call {
  operator: string;
  /** In the order of the operator's schema; trailing ones with defaults may be left out. */
  args: readonly Operand[];
  /** Names for the last of the arguments, where the schema takes them by keyword only. */
  keywords: readonly string[];
  outputs: readonly Variable[];
  /** The operator gives a list, and `outputs` are its elements. */
  unpack: boolean;
}

/** A result of a call, or an argument of `forward`. */
export class Variable {
  readonly kind = 'variable';
  readonly type: 'Tensor' | 'int';
  /** Given to arguments. */
  readonly name: string | undefined;
  constructor(type: 'Tensor' | 'int' = 'Tensor', name?: string) {
    this.type = type;
    this.name = name;
  }
}

/** What a weight is in the module: only parameters are trained, only parameters and buffers are its state. */
export type Role = 'parameter' | 'buffer' | 'constant';

/** A tensor that the model carries. */
export class Weight {
  readonly kind = 'weight';
  readonly name: string;
  readonly tensor: Tensor;
  readonly role: Role;
  constructor(name: string, tensor: Tensor, role: Role) {
    this.name = name;
    this.tensor = tensor;
    this.role = role;
  }
}

/**
 * A Linear layer's int8 weight [out, in] with its bias, which the runtime
 * packs for its quantization engine when it loads the file.
 */
export class PackedLinear {
  readonly kind = 'packed';
  readonly name: string;
  readonly weight: Tensor;
  /** One scale, or one per output. */
  readonly scales: readonly number[];
  /** As many zero points as scales. */
  readonly zeroPoints: readonly number[];
  readonly bias: Tensor | undefined;
  constructor(
    name: string,
    weight: Tensor,
    scales: readonly number[],
    bias: Tensor | undefined,
    zeroPoints: readonly number[] = scales.map(() => 0),
  ) {
    this.name = name;
    this.weight = weight;
    this.scales = scales;
    this.zeroPoints = zeroPoints;
    this.bias = bias;
  }
}

/** A float Linear or convolution in the form XNNPACK keeps it, packed when the file is loaded. */
export class Prepacked {
  readonly kind = 'prepacked';
  readonly name: string;
  readonly context: 'LinearOpContext' | 'Conv2dOpContext';
  readonly weight: Weight;
  readonly bias: Weight | undefined;
  /** Stride, padding, dilation and groups of a convolution. */
  readonly window: readonly (number | readonly number[])[];
  constructor(
    context: Prepacked['context'],
    weight: Weight,
    bias: Weight | undefined,
    window: Prepacked['window'] = [],
  ) {
    this.name = `${weight.name}.prepacked`;
    this.context = context;
    this.weight = weight;
    this.bias = bias;
    this.window = window;
  }
}

/** What a call reads from the module. */
export type Stored = Weight | PackedLinear | Prepacked;

/** An argument of a call. Ints and floats are different types there, so they are here. */
export type Operand =
  | Variable
  | Weight
  | PackedLinear
  | Prepacked
  | { readonly kind: 'none' }
  | { readonly kind: 'bool'; readonly value: boolean }
  /** Whether the module is in training mode; for phones it never is. */
  | { readonly kind: 'training' }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'list'; readonly element: 'int' | 'Tensor'; readonly items: readonly Operand[] };

export const none: Operand = { kind: 'none' };
export const bool = (value: boolean): Operand => ({ kind: 'bool', value });
export const training: Operand = { kind: 'training' };
export const int = (value: number): Operand => ({ kind: 'int', value });
export const float = (value: number): Operand => ({ kind: 'float', value });
export const string = (value: string): Operand => ({ kind: 'string', value });
export const ints = (values: readonly number[]): Operand => intList(values.map(int));
export const intList = (items: readonly Operand[]): Operand => ({ kind: 'list', element: 'int', items });
export const tensors = (items: readonly Operand[]): Operand => ({ kind: 'list', element: 'Tensor', items });

/** Every operand inside an argument list, lists opened. */
export function* operands(args: readonly Operand[]): Generator<Operand> {
  for (const arg of args) {
    if (arg.kind === 'list') yield* operands(arg.items);
    else yield arg;
  }
}

/** Drops calls whose results nobody reads. The operators used here have no side effects. */
export function removeDeadCalls(program: Program): void {
  const live = new Set<Operand>(operands(program.outputs));
  program.calls = program.calls
    .toReversed()
    .filter((call) => {
      if (!call.outputs.some((output) => live.has(output))) return false;
      for (const operand of operands(call.args)) live.add(operand);
      return true;
    })
    .reverse();
}

/** The weights and packed layers that calls and outputs read, each once, in order of first use. */
export function usedWeights(program: Program): Stored[] {
  const found = new Set<Stored>();
  for (const args of [...program.calls.map((call) => call.args), program.outputs]) {
    for (const operand of operands(args)) {
      if (operand.kind === 'weight' || operand.kind === 'packed' || operand.kind === 'prepacked')
        found.add(operand);
    }
  }
  return [...found];
}
