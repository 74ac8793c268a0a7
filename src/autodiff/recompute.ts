import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { isRandom } from '../graph/schema/traits.ts';
import { subgraphs } from '../graph/traversal.ts';
import { leastCuts } from './cuts.ts';

/**
 * Activation checkpointing (Chen et al., arXiv 1604.06174): changes a graph with its backward pass, in place, so that what
 * the backward pass reads of the forward pass is computed a second time just before it is read, instead of kept.
 *
 * 1. The forward nodes are cut into stretches where few bytes cross. What crosses is kept.
 * 2. What is read of a stretch has a copy, made from what crosses at its start, and is read there. Not of the last
 *    stretch, which the backward pass begins with, nor what does not depend on the images, is drawn at random, or comes
 *    of a node with a graph inside.
 * 3. Copies must not run early, nor be taken for the originals by the engine's elimination of common subexpressions. So a
 *    stretch starts from `Where(never, token, x)`, which is x, bit for bit; the token is of one element of everything that
 *    the backward pass has made of the stretch behind it, and `never` is `p < p` for a pixel p.
 *
 * Every result is computed by the same ops from the same numbers as before.
 *
 * @param forward the nodes that were there before the backward pass
 * @param images the input that activations are computed from
 */
export function recompute(graph: Graph, forward: ReadonlySet<Node>, images: Value): void {
  const nodes = graph.nodes.filter((node) => forward.has(node));
  const later = graph.nodes.filter((node) => !forward.has(node));
  const repeated = repeatedValues(nodes, images);
  const saved = new Set(
    later.flatMap(({ inputs }) => inputs.filter((value) => value && repeated.has(value))) as Value[],
  );
  const stretches = leastCuts(nodes, (value) => repeated.has(value), saved);
  const stretchOf = new Map(stretches.flatMap((stretch, i) => stretch.map((node) => [node, i] as const)));
  const isInner = (value: Value): boolean =>
    repeated.has(value) &&
    value.uses.every(
      ({ node }) => !forward.has(node) || stretchOf.get(node) === stretchOf.get(value.producer!),
    );

  const place = new Map(later.map((node, i) => [node, i]));
  const b = new Builder(graph, later[0]);
  const never = neverTrue(b, images);
  let done = 0;
  for (const stretch of stretches.slice(0, -1).reverse()) {
    const wanted = stretch
      .flatMap(({ outputs }) => outputs)
      .filter((value): value is Value => value !== undefined && isInner(value) && saved.has(value));
    const readers = wanted.flatMap(({ uses }) => uses.filter(({ node }) => place.has(node)));
    if (readers.length === 0) continue;
    const start = Math.min(...readers.map(({ node }) => place.get(node)!));
    b.before = later[start]!;
    const finished = later
      .slice(done, start)
      .flatMap(({ outputs }) =>
        outputs.filter((value) => value?.uses.some(({ node }) => (place.get(node) ?? 0) >= start)),
      ) as Value[];
    done = Math.max(done, start);
    const token = tokenOf(b, finished);
    const twins = copied(b, stretch, wanted, isInner, (value) =>
      value.dtype === 'float32' && (value === images || repeated.has(value))
        ? b.op('Where', [never, token, value])
        : value,
    );
    for (const value of wanted) {
      for (const { node, index } of [...value.uses]) {
        if (place.has(node)) node.setInput(index, twins.get(value));
      }
    }
  }
}

/** What the images decide, and a node that is run again makes anew. */
function repeatedValues(nodes: readonly Node[], images: Value): Set<Value> {
  const moving = new Set([images]);
  const repeated = new Set<Value>();
  for (const node of nodes) {
    if (!node.inputs.some((value) => value && moving.has(value))) continue;
    for (const value of node.outputs) {
      if (!value) continue;
      moving.add(value);
      if (!isRandom(node) && subgraphs(node).length === 0) repeated.add(value);
    }
  }
  return repeated;
}

/** False, as no optimizer can tell. */
function neverTrue(b: Builder, images: Value): Value {
  const pixel = firstElement(b, images);
  return b.op('Less', [pixel, pixel], {}, 'never');
}

/** A number that is there once all the values are. */
const tokenOf = (b: Builder, values: readonly Value[]): Value => {
  const elements = values.filter(hasElements).map((value) => firstElement(b, value));
  return elements.length === 1 ? elements[0]! : b.op('Sum', elements, {}, 'recompute');
};

const hasElements = ({ dtype, shape }: Value): boolean =>
  dtype === 'float32' && shape !== undefined && !shape.includes(0);

/** As a scalar. */
function firstElement(b: Builder, value: Value): Value {
  const rank = value.shape!.length;
  if (rank === 0) return value;
  const [starts, ends] = [0, 1].map((at) => b.ints(value.shape!.map(() => at)));
  return b.op('Reshape', [b.op('Slice', [value, starts, ends]), b.ints([])]);
}

/**
 * Copies the nodes of a stretch that some of its values need.
 * @param begin what a copy reads instead of a value from outside of the stretch
 * @returns which value stands for which
 */
function copied(
  b: Builder,
  stretch: readonly Node[],
  wanted: readonly Value[],
  isInner: (value: Value) => boolean,
  begin: (value: Value) => Value,
): Map<Value, Value> {
  const needed = new Set<Value | undefined>(wanted);
  const again = new Set<Node>();
  for (const node of [...stretch].reverse()) {
    if (!node.outputs.some((value) => value && needed.has(value) && isInner(value))) continue;
    again.add(node);
    for (const value of node.inputs) needed.add(value);
  }
  const twins = new Map<Value, Value>();
  const twin = (value: Value): Value => {
    const made = twins.get(value) ?? begin(value);
    twins.set(value, made);
    return made;
  };
  for (const node of stretch.filter((node) => again.has(node))) {
    const made = b.graph.addNode({
      opType: node.opType,
      domain: node.domain,
      attributes: Object.fromEntries(node.attributes),
      inputs: node.inputs.map((value) => value && twin(value)),
      outputs: node.outputs.map((value) => (value ? b.graph.uniqueName(`again.${value.name}`) : '')),
      before: b.before,
    });
    node.outputs.forEach((value, i) => {
      if (!value) return;
      const output = made.output(i);
      output.dtype = value.dtype;
      output.shape = value.shape;
      if (isInner(value)) twins.set(value, output);
    });
  }
  return twins;
}
