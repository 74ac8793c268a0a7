import type { Graph } from '../graph/graph.ts';
import type { BlockShape } from './blocks-of.ts';
import { families } from './families/index.ts';
import { architectureName } from './model-info.ts';
import { type Architecture, knownArchitecture } from './registry.ts';

/** The architecture a graph was built from; undefined for a graph from elsewhere. */
export function architectureOf(graph: Graph): Architecture | undefined {
  const name = architectureName(graph);
  return name === undefined ? undefined : knownArchitecture(name);
}

/** The blocks of a graph. One from elsewhere is read by the first family whose names it bears. */
export function blocksOf(graph: Graph): BlockShape[] {
  const family = architectureOf(graph)?.family;
  if (family) return family.blocks(graph);
  for (const candidate of families) {
    const blocks = candidate.blocks(graph);
    if (blocks.length) return blocks;
  }
  return [];
}

/**
 * Says which parameters are not weight-decayed by their names; vectors never are, whatever their names. In
 * a graph from elsewhere the names of all families count.
 */
export function undecayed(graph: Graph): (name: string) => boolean {
  const family = architectureOf(graph)?.family;
  const parts = (family ? [family] : families).flatMap(({ noWeightDecay }) => noWeightDecay);
  return (name) => parts.some((part) => `.${name}.`.includes(`.${part}.`));
}
