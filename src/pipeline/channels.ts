import type { Graph } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import type { LayerChannels } from '../report/schema.ts';

/** Output channels of every layer before and after, by the name of its weight. */
export function layerChannels(before: Graph, after: Graph): LayerChannels[] {
  const outputs = (graph: Graph) =>
    new Map(
      parameters(graph)
        .filter((value) => value.name.endsWith('weight') && (value.shape?.length ?? 0) >= 2)
        .map((value) => [value.name, value.staticShape[0]!] as const),
    );
  const kept = outputs(after);
  return [...outputs(before)].flatMap(([layer, total]) => {
    const left = kept.get(layer);
    return left === undefined ? [] : [{ layer: layer.replace(/\.weight$/, ''), kept: left, total }];
  });
}
