import type { Dim, Node, Shape } from '../types.ts';
import type { OpArguments } from './signature.ts';

/** What the axes of an Einsum are called, operand by operand. */
export interface EinsumLabels {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

const ellipsis = '...';

/**
 * The labels of an Einsum, its `...` spelled out (as `.0` for the last axis that it stands for, `.1` for the one
 * before). Without an arrow the output has the labels that stand once, in alphabetical order.
 * @throws Error when the equation does not fit the operands
 */
export function einsumLabels(node: Node, { equation }: OpArguments['Einsum']): EinsumLabels | undefined {
  const ranks = node.inputs.map((input) => input?.shape?.length);
  if (ranks.some((rank) => rank === undefined)) return undefined;
  const [left, right] = equation.replaceAll(' ', '').split('->') as [string, string | undefined];
  const terms = left.split(',').map(lettersOf);
  if (terms.length !== ranks.length) throw new Error(`"${equation}" is for ${terms.length} operands`);
  let hidden = 0;
  const inputs = terms.map((term, i) => {
    const rest = ranks[i]! - term.filter((label) => label !== ellipsis).length;
    if (rest < 0 || (rest > 0 && !term.includes(ellipsis))) {
      throw new Error(`"${equation}" does not fit operand ${i} of rank ${ranks[i]}`);
    }
    hidden = Math.max(hidden, rest);
    return spelled(term, rest);
  });
  return {
    inputs,
    output: right === undefined ? implied(inputs, hidden) : spelled(lettersOf(right), hidden),
  };
}

const lettersOf = (term: string): string[] => term.match(/\.\.\.|[A-Za-z]/g) ?? [];

const hiddenLabels = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `.${count - 1 - i}`);

const spelled = (term: readonly string[], hidden: number): string[] =>
  term.flatMap((label) => (label === ellipsis ? hiddenLabels(hidden) : [label]));

function implied(inputs: readonly (readonly string[])[], hidden: number): string[] {
  const all = inputs.flat().filter((label) => !label.startsWith('.'));
  const once = all.filter((label) => all.indexOf(label) === all.lastIndexOf(label));
  return [...hiddenLabels(hidden), ...once.sort()];
}

/** How long the axis of each label is: a broadcast one as long as its longest. */
export function einsumLengths({ inputs }: EinsumLabels, shapes: readonly Shape[]): Map<string, Dim> {
  const lengths = new Map<string, Dim>();
  inputs.forEach((labels, i) => {
    labels.forEach((label, axis) => {
      const dim = shapes[i]![axis]!;
      const before = lengths.get(label);
      if (before === undefined || before === 1 || (typeof before === 'string' && dim !== 1))
        lengths.set(label, dim);
    });
  });
  return lengths;
}

/** The equation that has these labels, a letter each. */
export function einsumEquation(inputs: readonly (readonly string[])[], output: readonly string[]): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  const known = new Map<string, string>();
  const letter = (label: string) => {
    if (!known.has(label)) known.set(label, alphabet[known.size]!);
    return known.get(label)!;
  };
  const text = (labels: readonly string[]) => labels.map(letter).join('');
  return `${inputs.map(text).join()}->${text(output)}`;
}
