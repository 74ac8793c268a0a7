import type { OpName } from './schema/signature.ts';
import type { Graph, Node, Value } from './types.ts';

/** A branch that computes something from a stream and is added to it: `x + f(x)`. */
export interface ResidualBranch {
  /** The Add in which it ends. */
  readonly end: Node;
  /** Which of the operands of the Add the branch is. */
  readonly side: 0 | 1;
  /** The nodes on the way from the stream to the end. */
  readonly nodes: readonly Node[];
}

/** What a branch has at least one of; others shift, scale or bend what they get. */
const layers: readonly OpName[] = [
  ...(['MatMul', 'com.microsoft.FusedMatMul', 'Gemm', 'Conv', 'Einsum', 'AveragePool', 'MaxPool'] as const),
];
const isLayer = ({ op }: Node): boolean => (layers as readonly string[]).includes(op);

/**
 * The residual branches of a graph, in order. An `Add` of two values of one shape ends one where
 * 1. its one operand, the stream, is what the other was computed from, or that plus branches of the same place
 *    (`x + f(x) + g(x)` has two);
 * 2. there is a layer on the way, and not a single convolution only: that encodes positions;
 * 3. it is not itself within a branch, as queries are that their attention is added to.
 */
export function residualBranches(graph: Graph): ResidualBranch[] {
  const place = new Map(graph.nodes.map((node, i) => [node, i]));
  const placeOf = (value: Value): number => (value.producer ? (place.get(value.producer) ?? -1) : -1);
  /** What a stream was before branches were added to it, the latest first. */
  const before = new Map<Value, Value>();
  const found: ResidualBranch[] = [];
  for (const end of graph.nodes) {
    if (end.op !== 'Add' || !computed(end.input(0)) || !computed(end.input(1))) continue;
    if (`${end.input(0).shape}` !== `${end.input(1).shape}`) continue;
    for (const side of [1, 0] as const) {
      const nodes = wayFrom(end.input(1 - side), end.input(side));
      if (!nodes) continue;
      before.set(end.output(), end.input(1 - side));
      const made = nodes.filter(isLayer);
      if (made.length > 1 || (made[0] && made[0].op !== 'Conv')) found.push({ end, side, nodes });
      break;
    }
  }
  const inner = new Set(found.flatMap(({ nodes }) => nodes));
  return found.filter(({ end }) => !inner.has(end));

  function wayFrom(stream: Value, branch: Value): Node[] | undefined {
    for (let from: Value | undefined = stream; from; from = before.get(from)) {
      const nodes = between(from, branch);
      if (nodes) return nodes;
    }
    return undefined;
  }

  /** The nodes on all ways from one value to another; undefined where there is none. */
  function between(from: Value, to: Value): Node[] | undefined {
    const first = placeOf(from);
    const behind = new Set<Node>();
    const open = [to];
    for (let value = open.pop(); value; value = open.pop()) {
      const { producer } = value;
      if (!producer || placeOf(value) <= first || behind.has(producer)) continue;
      behind.add(producer);
      for (const input of producer.inputs) if (input) open.push(input);
    }
    const reached = new Set([from]);
    const nodes = [...behind]
      .sort((a, b) => place.get(a)! - place.get(b)!)
      .filter((node) => {
        if (!node.inputs.some((input) => input && reached.has(input))) return false;
        for (const output of node.outputs) if (output) reached.add(output);
        return true;
      });
    return reached.has(to) && nodes.length > 0 ? nodes : undefined;
  }
}

const computed = (value: Value): boolean => !value.isConstant;
