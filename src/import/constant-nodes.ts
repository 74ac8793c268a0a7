import type { Graph, Node } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { Tensor } from '../graph/tensor.ts';

/** Makes constants of `Constant` nodes. Sparse ones and those of strings stay nodes. */
export function constantNodes(graph: Graph): void {
  const gone: Node[] = [];
  for (const node of graph.nodes) {
    const tensor = node.op === 'Constant' ? tensorOf(node) : undefined;
    if (!tensor) continue;
    const constant = graph.addConstant(graph.uniqueName(`${node.output().name}_constant`), tensor);
    replaceValue(graph, node.output(), constant);
    gone.push(node);
  }
  graph.removeNodes(gone);
}

function tensorOf(node: Node): Tensor | undefined {
  const args = argumentsOf<'Constant'>(node);
  if (args.value) return args.value;
  if (args.value_float !== undefined) return Tensor.scalar(args.value_float);
  if (args.value_int !== undefined) return Tensor.scalar(args.value_int, 'int64');
  if (args.value_floats) return Tensor.float32([args.value_floats.length], args.value_floats);
  if (args.value_ints) return Tensor.int64(args.value_ints);
  return undefined;
}
