import { UserError } from '../../common/errors.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../../graph/schema/signature.ts';
import { Lowering, type LoweringRule } from './lowering.ts';
import { type Program, removeDeadCalls } from './program.ts';
import { torchscriptLowering } from './rules.ts';

const ruleOf = (node: Node) =>
  rowOf(torchscriptLowering, node) as LoweringRule<OpArguments[OpName]> | undefined;

/** The nodes whose op has no lowering. A rule may still refuse a node for its arguments. */
export const withoutLowering = (graph: Graph): Node[] => graph.nodes.filter((node) => !ruleOf(node));

/** What a module that is trained on needs beside what the graph computes. */
export interface LoweringOptions {
  /** Values that no gradient goes through to what made them. */
  readonly detached?: ReadonlySet<Value>;
}

/**
 * Lowers a graph to ATen calls, op by op through `torchscriptLowering`. Parameters keep their names,
 * a symbolic batch stays free.
 * @throws UserError naming op and node when an op has no rule, or its rule can't express the node
 */
export function lowerGraph(graph: Graph, { detached }: LoweringOptions = {}): Program {
  const lowering = new Lowering(graph, detached);
  for (const node of graph.nodes) {
    const rule = ruleOf(node);
    if (!rule) throw new UserError(`${node.label} has no TorchScript lowering; can't export this graph`);
    lowering.bind(node, rule(node, argumentsOf(node), lowering));
  }
  const program: Program = {
    inputs: lowering.inputs,
    calls: lowering.calls,
    outputs: graph.outputs.map((value) => lowering.tensor(value)),
    state: lowering.state(),
  };
  removeDeadCalls(program);
  return program;
}
