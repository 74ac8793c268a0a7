import { countMacs, macsThatChange } from '../graph/cost.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { distinctBoxes } from './attention-groups.ts';
import type { PruningGroup } from './group.ts';
import { findGroups } from './groups.ts';
import { areParts, type LeftWhole } from './left-whole.ts';
import { stepsOf } from './plan.ts';
import { type GroupSummary, summarize } from './prune.ts';
import { Removal } from './removal.ts';
import type { Role } from './roles.ts';

/** An axis of a parameter that loses indices with a group. */
export interface CoupledAxis {
  parameter: string;
  axis: number;
  role: Role;
  /** How many of its indices are in the group. */
  indices: number;
  /** How many it has. */
  length: number;
}

/** A group, with what it couples and what it costs. */
export interface GroupDescription extends GroupSummary {
  /** Its name with `*` for numbers between dots, for `--ratio-for` and `--ignore`. */
  pattern: string;
  /** How many heads its channels lie in; null outside an attention. */
  heads: number | null;
  /** How long these are; several where queries and values differ. Empty outside an attention. */
  headDims: number[];
  /** Several branches are added into these channels. */
  residual: boolean;
  couples: CoupledAxis[];
  /** What a choice of units must keep to; empty: any may go. */
  constraints: string[];
  /** Multiply-accumulates of the operators whose work becomes less when a unit goes; one with two such axes counts in two groups. */
  macs: number;
  /** Their share of the model's, 0 to 1. */
  macsShare: number;
}

export interface GroupsDescription {
  groups: GroupDescription[];
  leftWhole: LeftWhole[];
}

/** A number that is a part of a name by itself. */
export const ownNumber = /(?<![^._/])\d+(?![^._/])/g;

/** What pruning can take out of a graph, and what not. Shapes must have been inferred. */
export function describeGroups(graph: Graph): GroupsDescription {
  const grouping = findGroups(graph);
  const { groups, leftWhole } = grouping;
  const total = countMacs(graph) || 1;
  const removals = groups.map((group) => new Removal(new Map([[group, oneStep(group)]])));
  const macs = macsThatChange(
    graph,
    removals.map((removal) => (value) => removal.shape(value)),
  );
  const summaries = summarize(grouping, new Map());
  return {
    leftWhole: [...leftWhole],
    groups: groups.map((group, i) => ({
      ...summaries[i]!,
      pattern: group.name.replace(ownNumber, '*'),
      ...headsOf(group),
      residual: group.residual,
      couples: couplesOf(group),
      constraints: constraintsOf(graph, group),
      macs: macs[i]!,
      macsShare: macs[i]! / total,
    })),
  };
}

/** The least that can go. */
const oneStep = (group: PruningGroup): readonly number[] =>
  stepsOf(group, new Float64Array(group.size))[0]!.units;

const couplesOf = ({ slices }: PruningGroup): CoupledAxis[] =>
  slices.map(({ parameter, axis, role, units }) => ({
    parameter: parameter.name,
    axis,
    role,
    indices: units.filter((unit) => unit >= 0).length,
    length: units.length,
  }));

/** How the boxes that a group's units are elements of lie in heads. */
function headsOf({ kind, size, members }: PruningGroup): Pick<GroupDescription, 'heads' | 'headDims'> {
  if (kind === 'channels') return { heads: null, headDims: [] };
  const { dependencies, units } = members;
  const { labels } = dependencies.layouts;
  const roots = new Set(units.flat());
  const boxes = distinctBoxes(dependencies)
    .map(({ labels: own, dims, inner, outer }) => ({
      elements: new Set(own.map((label) => labels.find(label))),
      count: outer.reduce((n, axis) => (axis && !areParts(axis, labels) ? n * axis.length : n), 1),
      length: dims[inner]!,
    }))
    .filter(({ elements }) => [...elements].some((root) => roots.has(root)));
  const heads = kind === 'heads' ? size : Math.max(...boxes.map(({ count }) => count));
  const own = boxes.filter(({ count }) => count === heads);
  const lengths = own.filter(({ elements, length }) => {
    const smaller = own.filter((other) => other.length < length);
    return (
      smaller.length === 0 ||
      [...elements].some((root) => smaller.every((other) => !other.elements.has(root)))
    );
  });
  return { heads, headDims: [...new Set(lengths.map(({ length }) => length))] };
}

function constraintsOf(graph: Graph, group: PruningGroup): string[] {
  const grouped = graph.nodes.flatMap((node) => groupedConvolution(node, group) ?? []);
  const own = {
    channels: [],
    headDims: headDimConstraints(group),
    heads: ['a head goes with all its dimensions'],
  }[group.kind];
  return [...own, ...new Set(grouped), ...(grouped.length ? [] : repeated(group))];
}

function headDimConstraints({ scopeCount, size }: PruningGroup): string[] {
  return scopeCount === 1
    ? ['the same dimensions go in every head']
    : [`as many dimensions go in every head: ${scopeCount} sets of ${size / scopeCount} choose apart`];
}

/** Channels of a convolution in groups, depthwise ones aside: the same go in each. */
function groupedConvolution(node: Node, { slices }: PruningGroup): string | undefined {
  if (node.op !== 'Conv') return undefined;
  const { group: parts } = argumentsOf(node) as { group: number };
  const weight = node.input(1);
  if (parts === 1 || weight.shape?.[1] === 1 || !slices.some(({ parameter }) => parameter === weight)) {
    return undefined;
  }
  return `the same channels go in each of the ${parts} groups of ${weight.name.replace(/\.weight$/, '')}`;
}

/** Axes of which a unit is several indices, as when a Linear reads four places of a channel. */
function repeated({ kind, slices }: PruningGroup): string[] {
  if (kind !== 'channels') return [];
  const axesOf = new Map<number, string[]>();
  for (const { parameter, axis, units } of slices) {
    const taken = units.filter((unit) => unit >= 0);
    const each = taken.length / new Set(taken).size;
    if (each > 1) axesOf.set(each, [...(axesOf.get(each) ?? []), `${parameter.name}[${axis}]`]);
  }
  return [...axesOf].map(([each, axes]) => `a channel is ${each} indices of ${axes.join(', ')}`);
}
