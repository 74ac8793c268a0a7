import type { Graph, Node, Value } from '../../graph/graph.ts';
import { scalarOf, soleReader } from '../../graph/patterns.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf, isComputed } from '../../graph/schema/arguments.ts';
import { scopedBuilder } from './linear.ts';

/**
 * Puts one op in the place of an activation's parts, in whatever order they are multiplied.
 * 1. `0.5 x (1 + erf(x / sqrt 2))` becomes `Gelu`.
 * 2. `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` becomes `Gelu` with `approximate` "tanh".
 * 3. `x clip(x + 3, 0, 6) / 6`, and `x HardSigmoid(x)` with alpha 1/6 and beta 0.5, become `HardSwish`.
 */
export function activation(graph: Graph): void {
  // Gelu and HardSwish are younger than some files that can't be raised.
  if ((graph.root.opsets.get('') ?? 1) < 20) return;
  for (const node of [...graph.nodes]) {
    const found = node.op === 'Mul' || node.op === 'Div' ? match(graph, node) : undefined;
    if (!found) continue;
    const made = scopedBuilder(graph, node).op(found.op, [found.x], found.attributes, 'act');
    replaceValue(graph, node.output(), made);
    graph.removeNodes([node]);
  }
  graph.removeDead();
}

interface Found {
  op: string;
  x: Value;
  attributes?: Record<string, string>;
}

const near = (a: number | undefined, b: number): boolean =>
  a !== undefined && Math.abs(a - b) <= 1e-4 * Math.abs(b);

function match(graph: Graph, node: Node): Found | undefined {
  const { factor, values } = factors(graph, node);
  if (values.length !== 2) return undefined;
  for (const [x, gate] of [values, values.toReversed()] as [Value, Value][]) {
    const producer = gate.producer;
    if (producer?.op === 'Add' && near(factor, 0.5)) {
      const inner = plusOne(producer)?.producer;
      if (inner?.op === 'Erf' && isScaled(graph, inner.input(0), x, Math.SQRT1_2)) return { op: 'Gelu', x };
      if (inner?.op === 'Tanh' && isTanhArgument(graph, inner.input(0), x)) {
        return { op: 'Gelu', x, attributes: { approximate: 'tanh' } };
      }
    }
    if (producer?.op === 'Clip' && near(factor, 1 / 6) && isHardGate(producer, x))
      return { op: 'HardSwish', x };
    if (producer?.op === 'HardSigmoid' && factor === 1 && producer.input(0) === x) {
      const { alpha, beta } = argumentsOf<'HardSigmoid'>(producer);
      if (near(alpha, 1 / 6) && near(beta, 0.5)) return { op: 'HardSwish', x };
    }
  }
  return undefined;
}

/** The operands of a tree of products that nobody else reads, and the product of its scalar constants. */
function factors(graph: Graph, root: Node): { factor: number; values: Value[] } {
  const values: Value[] = [];
  let factor = 1;
  const walk = (value: Value, inverse: boolean) => {
    const scalar = scalarOf(value);
    const { producer } = value;
    if (scalar !== undefined) factor *= inverse ? 1 / scalar : scalar;
    else if (!inverse && producer && isProduct(producer) && soleReader(graph, value)) open(producer);
    else values.push(value);
  };
  const open = (node: Node) => {
    walk(node.input(0), false);
    walk(node.input(1), node.op === 'Div');
  };
  open(root);
  return { factor, values };
}

const isProduct = (node: Node): boolean =>
  node.op === 'Mul' || (node.op === 'Div' && scalarOf(node.input(1)) !== undefined);

/** `y` of `y + 1`. */
function plusOne(node: Node): Value | undefined {
  if (scalarOf(node.input(1)) === 1) return node.input(0);
  return scalarOf(node.input(0)) === 1 ? node.input(1) : undefined;
}

/** Is a value `x * scale`? */
function isScaled(graph: Graph, value: Value, x: Value, scale: number): boolean {
  if (!value.producer || !isProduct(value.producer)) return false;
  const { factor, values } = factors(graph, value.producer);
  return near(factor, scale) && values.length === 1 && values[0] === x;
}

/** `sqrt(2 / pi) (x + 0.044715 x^3)`. */
function isTanhArgument(graph: Graph, value: Value, x: Value): boolean {
  if (!value.producer || !isProduct(value.producer)) return false;
  const { factor, values } = factors(graph, value.producer);
  const sum = values.length === 1 ? values[0]!.producer : undefined;
  if (!near(factor, Math.sqrt(2 / Math.PI)) || sum?.op !== 'Add') return false;
  for (const side of [0, 1]) {
    const cube = sum.input(1 - side).producer;
    if (sum.input(side) === x && cube && isProduct(cube) && isCube(factors(graph, cube), x)) return true;
  }
  return false;
}

function isCube({ factor, values }: { factor: number; values: Value[] }, x: Value): boolean {
  const power = values.reduce((sum, value) => {
    if (value === x) return sum + 1;
    const { producer } = value;
    return producer?.op === 'Pow' && producer.input(0) === x
      ? sum + (scalarOf(producer.input(1)) ?? 0)
      : Number.NaN;
  }, 0);
  return near(factor, 0.044715) && power === 3;
}

/** `clip(x + 3, 0, 6)`. */
function isHardGate(clip: Node, x: Value): boolean {
  const { min, max } = argumentsOf<'Clip'>(clip);
  const add = clip.input(0).producer;
  if (isComputed(min) || isComputed(max) || min !== 0 || max !== 6 || add?.op !== 'Add') return false;
  return [0, 1].some((side) => add.input(side) === x && scalarOf(add.input(1 - side)) === 3);
}
