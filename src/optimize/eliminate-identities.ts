import type { Dim, Graph, Node, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';

/** The value a node passes on unchanged; undefined when it does something. */
type IdentityRule = (node: Node) => Value | undefined;

const first: IdentityRule = (node) => node.input(0);

/** Axes known to be the same: equal numbers, or the same symbol. */
const sameAxes = (a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): boolean =>
  a !== undefined && a.length === b?.length && a.every((dim, i) => dim === b[i] && dim !== '?');

const sameShape: IdentityRule = (node) =>
  sameAxes(node.input(0).shape, node.output().shape) ? node.input(0) : undefined;

const sameType: IdentityRule = (node) =>
  node.input(0).dtype !== undefined && node.input(0).dtype === node.output().dtype
    ? node.input(0)
    : undefined;

const ordered: IdentityRule = (node) =>
  node.has('perm') && node.ints('perm').every((axis, i) => axis === i) ? node.input(0) : undefined;

const lone: IdentityRule = (node) => (node.inputs.length === 1 && node.inputs[0] ? node.input(0) : undefined);

/** Dropout as it is in inference; its mask must not be read. */
const inferenceDropout: IdentityRule = (node) => {
  const training = node.inputs[2];
  if (training && training.tensor?.integers[0] !== 0) return undefined;
  return node.outputs[1]?.uses.length ? undefined : node.input(0);
};

/** `x op c` with c all neutral, of a shape that does not widen x. */
const neutral =
  (element: number, sides: readonly number[]): IdentityRule =>
  (node) => {
    for (const side of sides) {
      const other = node.input(side);
      const { tensor } = other;
      if (other.dtype !== 'float32' || !tensor) continue;
      const kept = node.input(1 - side);
      if (sameAxes(kept.shape, node.output().shape) && tensor.floats.every((v) => v === element)) return kept;
    }
    return undefined;
  };

const rules: Record<string, IdentityRule> = {
  Identity: first,
  Dropout: inferenceDropout,
  Cast: sameType,
  CastLike: sameType,
  Transpose: ordered,
  Reshape: sameShape,
  Flatten: sameShape,
  Expand: sameShape,
  Squeeze: sameShape,
  Concat: lone,
  Sum: lone,
  Max: lone,
  Min: lone,
  Mean: lone,
  Add: neutral(0, [1, 0]),
  Sub: neutral(0, [1]),
  Mul: neutral(1, [1, 0]),
  Div: neutral(1, [1]),
};

/**
 * Removes nodes that pass a value on unchanged, in place.
 * 1. `Identity`; `Dropout` in inference; a `Cast` to the type it has; a `Transpose` that moves nothing.
 * 2. `Reshape`, `Flatten`, `Expand`, `Squeeze` to the shape it has; the variadic ops of one operand.
 * 3. Adding zeros, multiplying by ones.
 * 4. Of two `Transpose`s in a row the first, if the second can do both.
 *
 * It does not fire
 * - where the node's result is a graph output and what it passes on is an input, a constant or another
 *   output, which keep their own names;
 * - on shapes that are not known, even when they turn out equal at run time.
 *
 * @returns how many nodes went
 */
export function eliminateIdentities(graph: Graph): number {
  let count = 0;
  for (const node of [...graph.nodes]) {
    if (node.op === 'Transpose') mergeTransposes(node);
    const passed = rules[node.op]?.(node);
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
  if (inner?.op !== 'Transpose' || !inner.has('perm') || !node.has('perm')) return;
  const perm = inner.ints('perm');
  node.setAttribute(
    'perm',
    node.ints('perm').map((axis) => perm[axis]!),
  );
  node.setInput(0, inner.input(0));
}
