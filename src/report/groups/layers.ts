import type { GroupDescription } from '../../prune/describe-groups.ts';
import type { LeftWhole } from '../../prune/left-whole.ts';
import { type Folded, folded } from './fold.ts';

/** Where a layer's channels are: numbers of folded groups from 0; `stays` where some are in none. */
export interface LayerSides {
  readonly name: string;
  readonly reads: readonly (number | 'stays')[];
  readonly makes: readonly (number | 'stays')[];
}

/** Weights of layers, in the order of the groups, with the groups that they read and make; those that are alike told once. */
export function layerSides(
  groups: readonly Folded<GroupDescription>[],
  leftWhole: readonly LeftWhole[],
): Folded<LayerSides>[] {
  const layers = new Map<string, { reads: Set<number | 'stays'>; makes: Set<number | 'stays'> }>();
  const sidesOf = (name: string) => {
    const known = layers.get(name);
    if (known) return known;
    const made = { reads: new Set<number | 'stays'>(), makes: new Set<number | 'stays'>() };
    layers.set(name, made);
    return made;
  };
  groups.forEach(({ members }, number) => {
    for (const { parameter, role } of members.flatMap(({ couples }) => couples)) {
      if (role !== 'output' && role !== 'input') continue;
      sidesOf(parameter.replace(/\.weight$/, ''))[role === 'output' ? 'makes' : 'reads'].add(number);
    }
  });
  for (const { name, side } of leftWhole) {
    if (side !== 'heads') sidesOf(name)[side === 'outputs' ? 'makes' : 'reads'].add('stays');
  }
  const rows = [...layers].map(([name, { reads, makes }]) => ({
    name,
    reads: [...reads],
    makes: [...makes],
  }));
  return folded(rows, ({ reads, makes }) => [reads, makes]);
}
