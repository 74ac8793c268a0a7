import type { Graph } from '../graph/graph.ts';
import type { PruningGroup } from './group.ts';
import { narrowed, type Piece } from './latency-pieces.ts';
import { type LatencyTable, type PieceRequest, type Sweep, sweptWidths } from './latency-table.ts';

/** Units of each scope of a group. */
export const widthOf = ({ size, scopeCount }: PruningGroup): number => size / scopeCount;

/** What a table must hold to predict a model: each kind of piece once, with a sweep for each of its groups. */
export function latencyRequests(
  graph: Graph,
  pieces: readonly Piece[],
  groups: readonly PruningGroup[],
): PieceRequest[] {
  const seen = new Set<string>();
  const requests: PieceRequest[] = [];
  pieces.forEach((piece, place) => {
    if (seen.has(piece.key)) return;
    seen.add(piece.key);
    const own = piece.groups.map((i) => groups[i]!);
    requests.push({
      key: piece.key,
      name: piece.name,
      sweeps: own.map((group) => ({
        kind: group.kind,
        units: widthOf(group),
        widths: sweptWidths(widthOf(group)),
      })),
      graph: (narrower) =>
        narrower ? narrowed(graph, place, own[narrower.sweep]!, narrower.width) : piece.graph,
    });
  });
  return requests;
}

/** A width, and what the pieces with it take. */
export interface TimedWidth {
  readonly width: number;
  readonly milliseconds: number;
}

/**
 * Predicts the time of a model from the widths of its groups: the sum over its pieces of what each takes whole, times
 * what each of its groups' widths makes of that alone. More channels are taken to need no less time: what was measured
 * otherwise is noise, or a width that is better left wider. Between measured widths time is interpolated.
 */
export class LatencyModel {
  readonly #pieces: readonly { readonly whole: number; readonly groups: readonly number[] }[];
  /** For each group the sweeps of the pieces that it is in. */
  readonly #sweeps: readonly { readonly piece: number; readonly sweep: Sweep; readonly whole: number }[][];
  readonly #relative = new Map<Sweep, Map<number, number>>();
  readonly #curves = new Map<Sweep, number>();

  /** @param table with all that `latencyRequests` asks for */
  constructor(pieces: readonly Piece[], groups: readonly PruningGroup[], table: LatencyTable) {
    this.#pieces = pieces.map((piece) => ({
      whole: table.pieces[piece.key]!.milliseconds,
      groups: piece.groups,
    }));
    const rising = new Map<Sweep, Sweep>();
    this.#sweeps = groups.map((_, group) =>
      pieces.flatMap((piece, i) => {
        const at = piece.groups.indexOf(group);
        const known = table.pieces[piece.key]!;
        if (at < 0) return [];
        const sweep = rising.get(known.sweeps[at]!) ?? isotonic(known.sweeps[at]!);
        rising.set(known.sweeps[at]!, sweep);
        if (!this.#curves.has(sweep)) this.#curves.set(sweep, this.#curves.size);
        return [{ piece: i, sweep, whole: known.milliseconds }];
      }),
    );
  }

  /** @param widths of each group */
  milliseconds(widths: readonly number[]): number {
    const factors = this.#pieces.map(({ whole }) => whole);
    this.#sweeps.forEach((sweeps, group) => {
      for (const { piece, sweep } of sweeps) factors[piece]! *= this.#share(sweep, widths[group]!);
    });
    return factors.reduce((sum, factor) => sum + factor, 0);
  }

  /** The widths of a group that every piece with it was measured at, the widest (nothing pruned) first. */
  widths(group: number): number[] {
    const [first, ...others] = this.#sweeps[group]!.map(
      ({ sweep }) => new Set(sweep.points.map(([width]) => width)),
    );
    return [...(first ?? [])].filter((width) => others.every((set) => set.has(width))).sort((a, b) => b - a);
  }

  /** What the pieces with a group take together, at each of its measured widths, all else whole. */
  timed(group: number): TimedWidth[] {
    return this.widths(group).map((width) => ({ width, milliseconds: this.at(group, width) }));
  }

  /** The same at any width. */
  at(group: number, width: number): number {
    return this.#sweeps[group]!.reduce((sum, { sweep, whole }) => sum + whole * this.#share(sweep, width), 0);
  }

  /** The same text for groups with the same place in the same kinds of pieces. */
  alike(group: number): string {
    const curves = this.#sweeps[group]!.map(({ sweep }) => this.#curves.get(sweep)!);
    return curves.join();
  }

  #share(sweep: Sweep, width: number): number {
    const known = this.#relative.get(sweep) ?? new Map<number, number>();
    this.#relative.set(sweep, known);
    const share = known.get(width) ?? interpolated(sweep, width) / sweep.points.at(-1)![1];
    known.set(width, share);
    return share;
  }
}

/** The non-decreasing times nearest to those measured, by least squares (pool adjacent violators). */
function isotonic({ points, ...sweep }: Sweep): Sweep {
  const pools: { sum: number; widths: number[] }[] = [];
  const mean = (pool: { sum: number; widths: number[] } | undefined) => pool && pool.sum / pool.widths.length;
  for (const [width, milliseconds] of points) {
    let pool = { sum: milliseconds, widths: [width] };
    for (let last = pools.at(-1); last && mean(last)! > mean(pool)!; last = pools.at(-1)) {
      pools.pop();
      pool = { sum: last.sum + pool.sum, widths: [...last.widths, ...pool.widths] };
    }
    pools.push(pool);
  }
  return {
    ...sweep,
    points: pools.flatMap((pool) => pool.widths.map((width): [number, number] => [width, mean(pool)!])),
  };
}

function interpolated({ points }: Pick<Sweep, 'points'>, width: number): number {
  const above = points.findIndex(([known]) => known >= width);
  if (above < 0) return points.at(-1)![1];
  const [w1, t1] = points[above]!;
  if (above === 0 || w1 === width) return t1;
  const [w0, t0] = points[above - 1]!;
  return t0 + ((t1 - t0) * (width - w0)) / (w1 - w0);
}

/** How far above the line a width may be that is left as it is: what medians of short runs differ by. */
const tolerance = 0.015;

/**
 * The fast width nearest to one that is asked for, of two the larger. Fast are widths on the fast side of steps: no
 * others give as many channels, in the mean, in less time; that is, they lie on the lower convex hull of time over width.
 * The measured width nearest to what is asked for does, if it is no more than 1.5 % above that; and none is taken that is
 * further off than an eighth of all units.
 * @param timed measured widths
 * @param units of the group when nothing is pruned
 */
export function fastWidth(timed: readonly TimedWidth[], units: number, asked: number): number {
  const line = lowerHull(timed);
  const distance = ({ width }: TimedWidth) => Math.abs(width - asked);
  const near = timed
    .filter((at) => distance(at) <= units / 8)
    .sort((a, b) => distance(a) - distance(b) || b.width - a.width);
  const within = (share: number) => (at: TimedWidth) =>
    at.milliseconds <= lineAt(line, at.width) * (1 + share);
  const fast = near.slice(0, 1).find(within(tolerance)) ?? near.find(within(1e-9));
  return fast?.width ?? asked;
}

/** The lower convex hull, by width (Andrew's monotone chain). */
function lowerHull(points: readonly TimedWidth[]): TimedWidth[] {
  const hull: TimedWidth[] = [];
  for (const point of [...points].sort((a, b) => a.width - b.width)) {
    while (hull.length > 1 && !turnsUp(hull.at(-2)!, hull.at(-1)!, point)) hull.pop();
    hull.push(point);
  }
  return hull;
}

const turnsUp = (a: TimedWidth, b: TimedWidth, c: TimedWidth): boolean =>
  (b.width - a.width) * (c.milliseconds - a.milliseconds) >
  (b.milliseconds - a.milliseconds) * (c.width - a.width);

function lineAt(hull: readonly TimedWidth[], width: number): number {
  const points = hull.map(({ width: w, milliseconds }): [number, number] => [w, milliseconds]);
  return interpolated({ points }, width);
}
