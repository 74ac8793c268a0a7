import type { Graph, Node } from '../graph/graph.ts';
import { nodeNotes } from '../onnx/node-notes.ts';

/**
 * Names the result of each node by the module that it is computed in and its op, `blocks.0.attn.softmax`, as our
 * builders do. Which module that is says the node's name (PyTorch's TorchScript exporter) or its notes (the
 * dynamo exporter); without either the name stays. Graph outputs keep theirs.
 */
export function valueNames(graph: Graph): void {
  const outputs = new Set(graph.outputs);
  for (const node of graph.nodes) {
    const scope = scopeOf(node);
    if (scope === undefined) continue;
    for (const output of node.outputs) {
      if (!output || outputs.has(output)) continue;
      const wanted = `${scope || 'model'}.${node.opType.toLowerCase()}`;
      graph.rename(output, graph.uniqueName(wanted));
    }
  }
}

function scopeOf(node: Node): string | undefined {
  if (node.name.startsWith('/')) return joined(node.name.split('/').slice(1, -1));
  const noted = nodeNotes(node).get('pkg.torch.onnx.name_scopes');
  // A list as Python prints it: the modules from the outside in by their full names, then the operation.
  const scopes = noted && [...noted.matchAll(/'([^']*)'/g)].map(([, scope]) => scope!);
  return scopes ? (scopes.at(-2) ?? '').replace(/^_empty_nn_module_stack.*/, '') : undefined;
}

/** `/stages/stages.0/blocks.0/norm1` is `stages.0.blocks.0.norm1`: an entry of a list repeats the list's name. */
function joined(parts: readonly string[]): string {
  const path: string[] = [];
  for (const part of parts) {
    const last = path.at(-1);
    if (last !== undefined && part.startsWith(`${last}.`)) path.pop();
    path.push(part);
  }
  return path.join('.').replace(/[^\w.]/g, '_');
}

/** The module that a value is computed in, by its name; undefined for names that were not given here. */
export function moduleOf(name: string): string | undefined {
  const match = /^((?:[A-Za-z_]\w*)(?:\.\w+)*)\.[a-z]\w*$/.exec(name);
  return match?.[1];
}
