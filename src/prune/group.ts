import type { Value } from '../graph/graph.ts';
import type { Role } from './roles.ts';

/** Slices of one axis of a parameter that belong to a group. */
export interface GroupSlice {
  readonly parameter: Value;
  readonly axis: number;
  /** For each index of the axis the unit it goes with; -1: with none of this group. */
  readonly units: Int32Array;
  readonly role: Role;
}

/**
 * Units that are alternatives to each other. Found by structure, not by name: `channels` are free of
 * any box (embedding, MLP hidden units); `headDims` are elements of a box such as `12 x 64`, of which
 * every outer index must lose as many; `heads` are the outer indices as wholes.
 */
export interface PruningGroup {
  readonly kind: 'channels' | 'headDims' | 'heads';
  /** After the first parameter that its units are outputs of. */
  readonly name: string;
  readonly size: number;
  readonly slices: readonly GroupSlice[];
  /** For each unit its scope: every scope of a group must lose as many units. Channels have one. */
  readonly scopes: Int32Array;
  readonly scopeCount: number;
  /** Several branches are added into these channels (the embedding). */
  readonly residual: boolean;
  /** For each unit the labels (representatives) that it is made of. */
  readonly labels: readonly (readonly number[])[];
}

export type HeadDims = 'tied' | 'free';

/** An axis of a constant with the label (representative) of each index. */
export interface Owner {
  readonly parameter: Value;
  readonly axis: number;
  readonly role: Role;
  /** The representative of each index. */
  readonly roots: Int32Array;
}

/** Slices of the owners for units given as representative -> unit. */
export function slicesOf(owners: readonly Owner[], unitOf: ReadonlyMap<number, number>): GroupSlice[] {
  return owners.flatMap(({ parameter, axis, role, roots }) => {
    const units = roots.map((root) => unitOf.get(root) ?? -1);
    return units.some((unit) => unit >= 0) ? [{ parameter, axis, role, units }] : [];
  });
}

export function nameOf(slices: readonly GroupSlice[]): string {
  const named = slices.find((slice) => slice.role === 'output') ?? slices[0];
  return named?.parameter.name.replace(/\.weight$/, '') ?? '';
}

/** Channels into which branches are added, outputs of more than one layer. */
export function isResidual(
  slices: readonly GroupSlice[],
  roots: Iterable<number>,
  residual: ReadonlySet<number>,
): boolean {
  if (slices.filter((slice) => slice.role === 'output').length < 2) return false;
  for (const root of roots) if (residual.has(root)) return true;
  return false;
}
