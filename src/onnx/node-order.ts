import { UserError } from '../common/errors.ts';
import { quoted } from '../common/quoted.ts';
import type { GraphProto, NodeProto } from './generated/onnx_pb.ts';

/**
 * The nodes in an order in which each stands after those that make what it reads; as they stand where that is one.
 * A file may have them in any order.
 * @param known names that are there before the first node
 * @throws UserError where nothing makes what a node reads, and on a cycle
 */
export function orderedNodes(
  nodes: readonly NodeProto[],
  known: { has(name: string): boolean },
): readonly NodeProto[] {
  const makers = new Map(
    nodes.flatMap((node) => node.output.filter(Boolean).map((name) => [name, node] as const)),
  );
  const order: NodeProto[] = [];
  const state = new Map<NodeProto, 'open' | 'done'>();
  for (const start of nodes) {
    const stack: { node: NodeProto; reads: string[] }[] = [];
    const enter = (node: NodeProto) => {
      state.set(node, 'open');
      stack.push({ node, reads: readsOf(node).reverse() });
    };
    if (!state.has(start)) enter(start);
    while (stack.length > 0) {
      const { node, reads } = stack.at(-1)!;
      const name = reads.pop();
      if (name === undefined) {
        state.set(node, 'done');
        order.push(node);
        stack.pop();
        continue;
      }
      if (known.has(name)) continue;
      const maker = makers.get(name);
      if (!maker) throw new UserError(`${label(node)} reads ${quoted(name)}, which nothing makes`);
      if (state.get(maker) === 'open') throw new UserError(`the nodes form a cycle through ${label(maker)}`);
      if (!state.has(maker)) enter(maker);
    }
  }
  return order;
}

const label = ({ opType, name }: NodeProto) => `node ${quoted(opType)} ${quoted(name)}`;

/** Names that a node reads, and those that its graphs read from around them. */
function readsOf(node: NodeProto): string[] {
  return [...node.input.filter(Boolean), ...node.attribute.flatMap(({ g }) => (g ? captured(g) : []))];
}

function captured(graph: GraphProto): string[] {
  const own = new Set([
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name }) => name),
    ...graph.node.flatMap(({ output }) => output),
  ]);
  const read = [...graph.node.flatMap(readsOf), ...graph.output.map(({ name }) => name)];
  return read.filter((name) => !own.has(name));
}
