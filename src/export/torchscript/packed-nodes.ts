import type { Graph, Node } from '../../graph/graph.ts';
import { matchQuantizedLayer } from '../../quantize/match-quantized.ts';

/** The nodes that an int8 layer's operator stands for: what only they read, the packed layer holds. */
export function packedNodes(graph: Graph): Set<Node> {
  const found = new Set<Node>();
  for (const node of graph.nodes) {
    const layer = matchQuantizedLayer(graph, node);
    if (!layer && node.op !== 'com.microsoft.DynamicQuantizeMatMul') continue;
    found.add(node);
    if (layer?.product.op !== 'MatMul') continue;
    found.add(node.input(1).producer!);
    found.add(layer.output.producer!);
  }
  return found;
}
