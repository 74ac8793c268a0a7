import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';

/** What a BatchNormalization does to each channel, `y = x * scale + shift`, as values `[C]`. */
export interface ChannelAffine {
  scale: Value;
  shift: Value;
}

/** The constants of a BatchNormalization by its running statistics, in float32; undefined when they are none. */
export function normConstants(node: Node): Value[] | undefined {
  if (node.op !== 'BatchNormalization' || argumentsOf<'BatchNormalization'>(node).training_mode === 1) {
    return undefined;
  }
  if (node.outputs.slice(1).some((output) => output?.uses.length)) return undefined;
  const constants = [1, 2, 3, 4].map((index) => node.input(index));
  return constants.every((value) => value.isConstant && value.dtype === 'float32') ? constants : undefined;
}

/** Writes the factor and the summand of each channel. @param constants of `normConstants`, in the builder's graph */
export function writeAffine(b: Builder, node: Node, constants: readonly Value[]): ChannelAffine {
  const [weight, bias, mean, variance] = constants as [Value, Value, Value, Value];
  const { epsilon } = argumentsOf<'BatchNormalization'>(node);
  const deviation = b.op('Sqrt', [b.op('Add', [variance, b.scalar(epsilon)])]);
  const scale = b.op('Div', [weight, deviation]);
  return { scale, shift: b.op('Sub', [bias, b.op('Mul', [mean, scale])]) };
}
