import { argumentsOf } from '../schema/arguments.ts';
import { type OpName, rowOf } from '../schema/signature.ts';
import type { Value } from '../types.ts';
import { type Elements, elementLimit, elementsOf } from './elements.ts';
import { type SymbolicRule, symbolicRules } from './rules.ts';

/** What was found of values already; good as long as the graph stays as it is. */
export type Found = Map<Value, Elements | undefined>;

/**
 * The elements of a small tensor as far as they follow from constants and from the shapes that are known,
 * lengths such as the batch as symbols; undefined where nothing is known. Nothing is computed that is larger
 * than `elementLimit`.
 * @param found what was found before, and is added to
 */
export function evaluate(value: Value, found: Found = new Map()): Elements | undefined {
  if (value.tensor) return elementsOf(value);
  const stack = [value];
  while (stack.length) {
    const top = stack[stack.length - 1]!;
    const waiting = found.has(top) ? [] : unknownOperands(top, found);
    if (waiting.length) stack.push(...waiting);
    else {
      stack.pop();
      if (!found.has(top)) compute(top, found);
    }
  }
  return found.get(value);
}

/** What has to be found first. The rules that read shapes alone need nothing. */
function unknownOperands(value: Value, found: Found): Value[] {
  const node = value.producer;
  if (!node || !rowOf(symbolicRules, node) || readsShapesOnly.has(node.op)) return [];
  return node.inputs.filter(
    (input): input is Value => input !== undefined && !input.tensor && !found.has(input),
  );
}

const readsShapesOnly = new Set(['Shape', 'Size']);

function compute(value: Value, found: Found): void {
  found.set(value, undefined);
  const node = value.producer;
  const rule = node && (rowOf(symbolicRules, node) as SymbolicRule<OpName> | undefined);
  if (!rule) return;
  const operands = readsShapesOnly.has(node.op)
    ? []
    : node.inputs.map((input) => input && (input.tensor ? elementsOf(input) : found.get(input)));
  const results = rule(node, argumentsOf(node), operands);
  node.outputs.forEach((output, i) => {
    const result = results?.[i];
    if (output) found.set(output, result && result.values.length <= elementLimit ? result : undefined);
  });
}
