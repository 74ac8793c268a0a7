import type { Value } from '../graph/graph.ts';
import type { Dependencies } from './dependency.ts';
import type { Role } from './roles.ts';

/** Slices of one axis of a parameter that belong to a group. */
export interface GroupSlice {
  readonly parameter: Value;
  readonly axis: number;
  /** For each index of the axis the unit it goes with; -1: with none of this group. */
  readonly units: Int32Array;
  readonly role: Role;
}

/** The record of who belongs to a group. Everything with one of its labels does, parameter or not. */
export interface Members {
  /** The sweep that gave the labels. */
  readonly dependencies: Dependencies;
  /** For each unit the labels (representatives) that go with it. */
  readonly units: readonly (readonly number[])[];
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
  readonly members: Members;
  /** What the members are of parameters. */
  readonly slices: readonly GroupSlice[];
  /** For each unit its scope: every scope of a group must lose as many units. Channels have one. */
  readonly scopes: Int32Array;
  readonly scopeCount: number;
  /** Several branches are added into these channels (the embedding). */
  readonly residual: boolean;
}

export const headDimKinds = ['tied', 'free'] as const;
export type HeadDims = (typeof headDimKinds)[number];

/** An axis of a constant, with the label (representative) of each index. */
interface LabelledAxis {
  readonly parameter: Value;
  readonly axis: number;
  readonly role: Role;
  readonly roots: Int32Array;
}

/** Makes groups out of the labels of one sweep. */
export class GroupMaker {
  readonly #dependencies: Dependencies;
  readonly #axes: readonly LabelledAxis[];
  /** Ascending places in `#axes` that have a label. */
  readonly #owners = new Map<number, number[]>();
  readonly #residual: ReadonlySet<number>;

  constructor(dependencies: Dependencies, roleOf: (value: Value, axis: number) => Role) {
    const { constants, layout, layouts } = dependencies;
    this.#dependencies = dependencies;
    this.#residual = layouts.residual();
    this.#axes = constants.flatMap((parameter) =>
      layout(parameter).map((factor) => ({
        parameter,
        axis: factor.axes[0]!,
        role: roleOf(parameter, factor.axes[0]!),
        roots: factor.labels.map((label) => layouts.labels.find(label)),
      })),
    );
    this.#axes.forEach(({ roots }, place) => {
      for (const root of roots) {
        const places = this.#owners.get(root);
        if (!places) this.#owners.set(root, [place]);
        else if (places[places.length - 1] !== place) places.push(place);
      }
    });
  }

  /** Labels that parameters have, in the order of their first use, with the axes (as numbers) that have them. */
  get owners(): ReadonlyMap<number, readonly number[]> {
    return this.#owners;
  }

  /**
   * A group of these units.
   * @param labels for each unit the labels that go with it, none in two units
   * @param scoping default: one scope
   * @param channels the labels among which a residual one makes the group residual; default: all
   */
  group(
    kind: PruningGroup['kind'],
    units: readonly (readonly number[])[],
    scoping: Pick<PruningGroup, 'scopes' | 'scopeCount'> = {
      scopes: new Int32Array(units.length),
      scopeCount: 1,
    },
    channels: Iterable<number> = units.flat(),
  ): PruningGroup {
    const slices = this.#slices(units);
    return {
      kind,
      name: nameOf(slices),
      size: units.length,
      members: { dependencies: this.#dependencies, units },
      slices,
      ...scoping,
      residual: this.#isResidual(slices, channels),
    };
  }

  #slices(units: readonly (readonly number[])[]): GroupSlice[] {
    const unitOf = new Map(
      units.flatMap((roots, unit) => roots.map((root): [number, number] => [root, unit])),
    );
    const places = new Set([...unitOf.keys()].flatMap((root) => this.#owners.get(root) ?? []));
    return [...places]
      .sort((a, b) => a - b)
      .map((place) => {
        const { parameter, axis, role, roots } = this.#axes[place]!;
        return { parameter, axis, role, units: roots.map((root) => unitOf.get(root) ?? -1) };
      });
  }

  /** Channels into which branches are added, outputs of more than one layer. */
  #isResidual(slices: readonly GroupSlice[], channels: Iterable<number>): boolean {
    if (slices.filter((slice) => slice.role === 'output').length < 2) return false;
    for (const root of channels) if (this.#residual.has(root)) return true;
    return false;
  }
}

function nameOf(slices: readonly GroupSlice[]): string {
  const named = slices.find((slice) => slice.role === 'output') ?? slices[0];
  return named?.parameter.name.replace(/\.weight$/, '') ?? '';
}
