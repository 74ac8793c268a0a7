import { sameShape } from './dim.ts';
import type { Graph, Node, Value } from './graph.ts';
import { permutation } from './patterns.ts';
import { replaceValue } from './replace.ts';
import { argumentsOf, isComputed } from './schema/arguments.ts';
import { type OpArguments, type OpName, rowOf, rowsFor } from './schema/signature.ts';

/** The value a node passes on unchanged; undefined when it does something. */
type IdentityRule<O extends OpName> = (node: Node, args: OpArguments[O]) => Value | undefined;

const keepsShape = (node: Node): Value | undefined =>
  sameShape(node.input(0).shape, node.output().shape) ? node.input(0) : undefined;

/** What a chain of `Reshape`s begins with, where it ends in the same shape. */
function restoresShape(node: Node): Value | undefined {
  let from = node.input(0);
  for (;;) {
    if (sameShape(from.shape, node.output().shape)) return from;
    if (from.producer?.op !== 'Reshape') return undefined;
    from = from.producer.input(0);
  }
}

/** For ops that could also shift an axis and keep its length: a `Slice` that begins at the end, a `Pad` that cuts. */
const keepsKnownShape = (node: Node): Value | undefined => (forwards(node) ? keepsShape(node) : undefined);

function forwards(node: Node): boolean {
  if (node.op === 'Slice') {
    const { steps } = argumentsOf<'Slice'>(node);
    return steps === undefined || (!isComputed(steps) && steps.every((step) => step > 0));
  }
  if (node.op !== 'Pad') return true;
  const { pads } = argumentsOf<'Pad'>(node);
  return !isComputed(pads) && pads.every((length) => length === 0);
}

const keepsType = (node: Node): Value | undefined =>
  node.input(0).dtype !== undefined && node.input(0).dtype === node.output().dtype
    ? node.input(0)
    : undefined;

const ordered = (node: Node): Value | undefined =>
  permutation(node)?.every((axis, i) => axis === i) ? node.input(0) : undefined;

const lone = (node: Node): Value | undefined =>
  node.inputs.length === 1 && node.inputs[0] ? node.input(0) : undefined;

/** Dropout as it is in inference; its mask must not be read. */
const inferenceDropout: IdentityRule<'Dropout'> = (node, { training_mode: training }) => {
  if (training !== undefined && training !== 0) return undefined;
  return node.outputs[1]?.uses.length ? undefined : node.input(0);
};

/** `x op c` with c all neutral, of a shape that does not widen x. */
const neutral =
  (element: number, sides: readonly number[]) =>
  (node: Node): Value | undefined => {
    for (const side of sides) {
      const other = node.input(side);
      const { tensor } = other;
      if (other.dtype !== 'float32' || !tensor) continue;
      const kept = node.input(1 - side);
      if (sameShape(kept.shape, node.output().shape) && tensor.floats.every((v) => v === element))
        return kept;
    }
    return undefined;
  };

type IdentityRules = { readonly [O in OpName]?: IdentityRule<O> };

/** When an op that only moves or copies passes on a value unchanged, keyed by `Node.op`. */
export const movementIdentities: IdentityRules = {
  Identity: (node) => node.input(0),
  Dropout: inferenceDropout,
  ...rowsFor('Cast CastLike', keepsType),
  Transpose: ordered,
  Reshape: restoresShape,
  ...rowsFor('Flatten Expand Squeeze', keepsShape),
  ...rowsFor('Concat Sum Max Min Mean', lone),
  Slice: keepsKnownShape,
  Pad: keepsKnownShape,
  Tile: keepsKnownShape,
};

/** The same of every op. */
export const identityRules: IdentityRules = {
  ...movementIdentities,
  Add: neutral(0, [1, 0]),
  Sub: neutral(0, [1]),
  Mul: neutral(1, [1, 0]),
  Div: neutral(1, [1]),
};

/**
 * Removes nodes that pass a value on unchanged, in place.
 * 1. `Identity`; `Dropout` in inference; a `Cast` to the type it has; a `Transpose` that moves nothing.
 * 2. `Reshape`, also at the end of several, `Flatten`, `Expand`, `Squeeze`, `Slice`, `Pad`, `Tile` to the shape it has; the variadic ops of one
 *    operand.
 * 3. Adding zeros, multiplying by ones.
 * 4. Of two `Transpose`s in a row the first, if the second can do both.
 *
 * It does not fire
 * - where the node's result is a graph output and what it passes on is an input, a constant or another
 *   output, which keep their own names;
 * - on shapes that are not known, even when they turn out equal at run time.
 *
 * @param rules `movementIdentities` leaves numbers alone, parameters that happen to be 0 or 1 among them
 * @returns how many nodes went
 */
export function eliminateIdentities(graph: Graph, rules: IdentityRules = identityRules): number {
  let count = 0;
  for (const node of [...graph.nodes]) {
    if (node.op === 'Transpose') mergeTransposes(node);
    const rule = rowOf(rules, node) as IdentityRule<OpName> | undefined;
    const passed = rule?.(node, argumentsOf(node));
    if (!passed || node.outputs.slice(1).some((value) => value && graph.outputs.includes(value))) continue;
    const output = node.output();
    if (graph.outputs.includes(output)) {
      if (!passed.producer || graph.outputs.includes(passed)) continue;
      replaceValue(graph, output, passed);
    } else graph.replaceUses(output, passed);
    graph.removeNodes([node]);
    count++;
  }
  const before = graph.nodes.length;
  graph.removeDead();
  return count + before - graph.nodes.length;
}

function mergeTransposes(node: Node): void {
  const inner = node.input(0).producer;
  if (inner?.op !== 'Transpose') return;
  const [first, second] = [permutation(inner), permutation(node)];
  if (!first || !second) return;
  node.setAttribute(
    'perm',
    second.map((axis) => first[axis]!),
  );
  node.setInput(0, inner.input(0));
}
