import { describe, expect, it } from 'vitest';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { findDependencies } from './dependency.ts';
import type { PruningGroup } from './group.ts';
import { planPruning } from './plan.ts';
import { planNotes } from './plan-notes.ts';
import { assertNamesGroups } from './ranking.ts';

const owner = new Graph();

function group(name: string, size: number, extra: Partial<PruningGroup> = {}): PruningGroup {
  const parameter = owner.addConstant(owner.uniqueName(`${name}.weight`), Tensor.zeros('float32', [size, 1]));
  const units = Int32Array.from({ length: size }, (_, i) => i);
  return {
    kind: 'channels',
    name,
    size,
    slices: [{ parameter, axis: 0, role: 'output', units }],
    scopes: new Int32Array(size),
    scopeCount: 1,
    residual: false,
    members: { dependencies: findDependencies(owner), units: [] },
    ...extra,
  };
}

const scores = (...values: number[]) => Float64Array.from(values);
const rising = (size: number) => Float64Array.from({ length: size }, (_, i) => i);

describe('plan', () => {
  it('keeps floor(n (1 - ratio)) as Torch-Pruning does', () => {
    for (const [size, ratio, gone] of [
      [768, 0.09375, 72],
      [64, 0.09375, 6],
      [10, 0.25, 3],
      [2, 0.9, 1],
    ] as const) {
      const one = group('a', size);
      expect(planPruning([one], [rising(size)], { ratio }).get(one)).toHaveLength(gone);
    }
  });

  it('takes the least important, ties by index', () => {
    const one = group('b', 5);
    expect(planPruning([one], [scores(3, 1, 2, 1, 9)], { ratio: 0.4 }).get(one)).toEqual([1, 3]);
  });

  it.each([
    // units, ratio, multiple, kept by the nearest, kept by that below
    [64, 0.09375, 16, 64, 48],
    [64, 0.1, 8, 56, 56],
    [64, 0.3, 8, 48, 40],
    [64, 0.95, 8, 8, 8],
    [30, 0.05, 8, 24, 24],
    [6, 0.5, 8, 6, 6],
  ])('of %i units less %f, a multiple of %i: %i, or %i below', (units, ratio, roundTo, nearest, down) => {
    const one = group('c', units);
    const kept = (rounding: 'nearest' | 'down') =>
      units - (planPruning([one], [rising(units)], { ratio, roundTo, rounding }).get(one)?.length ?? 0);
    expect(kept('nearest')).toBe(nearest);
    expect(kept('down')).toBe(down);
  });

  it('takes as many from every scope', () => {
    const heads = group('d', 6, {
      kind: 'headDims',
      scopes: Int32Array.from([0, 1, 0, 1, 0, 1]),
      scopeCount: 2,
    });
    expect(planPruning([heads], [scores(1, 60, 2, 50, 3, 40)], { ratio: 0.34 }).get(heads)).toEqual([
      0, 2, 3, 5,
    ]);
  });

  it('ranks across groups with global', () => {
    const [low, high] = [group('e', 4), group('f', 4)];
    const plan = planPruning([low, high], [scores(1, 2, 3, 9), scores(5, 6, 7, 8)], {
      ratio: 0.5,
      global: true,
    });
    expect(plan.get(low)).toEqual([0, 1, 2]);
    expect(plan.get(high)).toEqual([0]);
  });

  it('ranks across groups that are built alike with isomorphic', () => {
    const alike = [group('i', 4), group('j', 4)];
    const other = group('k', 4);
    const slice = { ...other.slices[0]!, role: 'input' as const };
    const groups = [...alike, { ...other, slices: [...other.slices, slice] }];
    const ranks = [scores(1, 2, 3, 4), scores(5, 6, 7, 8), scores(10, 20, 30, 40)];
    const gone = (options: object) => {
      const plan = planPruning(groups, ranks, { ratio: 0.25, ...options });
      return groups.map((one) => plan.get(one)?.length ?? 0);
    };
    expect(gone({})).toEqual([1, 1, 1]);
    expect(gone({ ranking: 'global' })).toEqual([3, 0, 0]);
    expect(gone({ global: true })).toEqual([3, 0, 0]);
    expect(gone({ ranking: 'isomorphic' })).toEqual([2, 0, 1]);
  });

  it('takes heads by their own share', () => {
    const heads = group('g', 12, { kind: 'heads' });
    expect(planPruning([heads], [rising(12)], { ratio: 0.5 }).size).toBe(0);
    expect(planPruning([heads], [rising(12)], { ratio: 0.5, heads: 0.2 }).get(heads)).toEqual([0, 1, 2]);
  });

  it('leaves the embedding with bottleneck, and what ignore names', () => {
    const [embedding, hidden] = [group('h', 8, { residual: true }), group('blocks.0.mlp.fc1', 8)];
    const chosen = (options: object) => [
      ...planPruning([embedding, hidden], [rising(8), rising(8)], { ratio: 0.5, ...options }).keys(),
    ];
    expect(chosen({})).toEqual([embedding, hidden]);
    expect(chosen({ bottleneck: true })).toEqual([hidden]);
    expect(chosen({ ignore: ['blocks.?.mlp.*'] })).toEqual([embedding]);
  });

  it('takes another ratio from groups that a pattern names, the last one counting', () => {
    const groups = ['blocks.0.fc1', 'blocks.1.fc1', 'blocks.2.fc1'].map((name) => group(name, 8));
    const left = (options: object) => {
      const plan = planPruning(groups, [rising(8), rising(8), rising(8)], options);
      return groups.map((one) => 8 - (plan.get(one)?.length ?? 0));
    };
    expect(left({ ratio: 0.5, ratioFor: { 'blocks.0.*': 0.25 } })).toEqual([6, 4, 4]);
    expect(left({ ratio: 0.5, ratioFor: { 'blocks.*': 0.25, 'blocks.2.*': 0 } })).toEqual([6, 6, 8]);
    expect(left({ ratioFor: { 'blocks.1.*': 0.75 } })).toEqual([8, 2, 8]);
    expect(left({ ratio: 0.5, global: true, ratioFor: { 'blocks.0.*': 0.25 } })).toEqual([6, 4, 4]);
  });

  it('refuses patterns that name no group', () => {
    const tensors = [...owner.constants.keys(), 'head.weight'];
    const one = group('stem', 4);
    const branch = {
      ...one.slices[0]!,
      parameter: owner.addConstant('branch.weight', Tensor.zeros('float32', [4])),
    };
    const groups = [{ ...one, slices: [...one.slices, branch] }];
    const refused = (pattern: string) =>
      expect(() =>
        assertNamesGroups({ [pattern]: 0.5 }, groups, [...tensors, 'stem.weight', 'branch.weight']),
      );
    refused('stem.*').not.toThrow();
    refused('stam.*').toThrow(
      /^ratioFor: no tensor of the model matches "stam\.\*"; did you mean stem\.\*\?$/,
    );
    refused('branch.*').toThrow(
      /no group is named after "branch\.\*"; the outputs of branch\.weight go with those of stem\.weight/,
    );
    refused('head.*').toThrow(/of what "head\.\*" matches no channel can go/);
  });

  it('says where more stays than was asked for', () => {
    const groups = [
      group('tiny', 2),
      group('small', 6),
      group('wide', 64),
      group('attention', 3, { kind: 'heads' }),
    ];
    const ranks = groups.map(({ size }) => rising(size));
    const notes = (options: object) => planNotes(groups, ranks, planPruning(groups, ranks, options), options);
    expect(notes({ ratio: 0.6, heads: 0.9 })).toEqual([
      'tiny: would lose all 2 channels; 1 stay',
      'attention: would lose all 3 heads; 1 stay',
    ]);
    expect(notes({ ratio: 0.05, roundTo: 16 })).toEqual([
      'tiny: left whole: of 2 channels 1 would go, but they are to be a multiple of 16',
      'small: left whole: of 6 channels 1 would go, but they are to be a multiple of 16',
      'wide: left whole: of 64 channels 4 would go, but they are to be a multiple of 16',
    ]);
    expect(notes({ ratio: 0.25 })).toEqual([]);
    expect(notes({ ratio: 0.25, ignore: ['*'], roundTo: 16 })).toEqual([]);
  });

  it('refuses a rounding that is none', () => {
    expect(() => planPruning([], [], { ratio: 0.5, roundTo: 0 })).toThrow(
      /roundTo: it must be a whole number of at least 1 or auto, not 0/,
    );
  });
});
