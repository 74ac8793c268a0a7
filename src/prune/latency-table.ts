import * as z from 'zod';
import type { Graph } from '../graph/graph.ts';

/** Of the model that ships: as it is pruned, or with dynamic int8 layers. */
export const precisions = ['fp32', 'int8'] as const;

const milliseconds = z.number().gt(0);

/** How the time of a piece depends on the width of one group. */
const sweep = z.object({
  kind: z.enum(['channels', 'headDims', 'heads']),
  /** Units when nothing is pruned; of head dimensions those of one head. */
  units: z.number().int().min(1),
  /** Width and milliseconds, the narrowest first; the last is `units`. */
  points: z.array(z.tuple([z.number().int().min(1), milliseconds])).min(1),
});

/**
 * What was measured on one device: how long pieces of models take, whole and with one group narrower. Plain JSON, so
 * that another device's can be handed in.
 */
export const latencyTable = z.object({
  format: z.literal('pqv latency table 1'),
  /** Name and version of what ran the pieces. */
  engine: z.string(),
  processor: z.string(),
  threads: z.number().int().min(1),
  precision: z.enum(precisions),
  batch: z.number().int().min(1),
  /** By key (`Piece`). */
  pieces: z.record(
    z.string(),
    z.object({
      /** Where it was first met: `blocks.0.mlp.fc1`. */
      name: z.string(),
      milliseconds,
      /** One for each group that the piece has parameters of, in the order of the groups. */
      sweeps: z.array(sweep),
    }),
  ),
  /** Milliseconds of whole models before pruning, by key (`modelKey`): predictions are scaled by what they differ. */
  models: z.record(z.string(), milliseconds).default({}),
});

export type LatencyTable = z.output<typeof latencyTable>;
export type Sweep = z.output<typeof sweep>;
export type Precision = LatencyTable['precision'];

/** A piece that is to be in a table. */
export interface PieceRequest {
  readonly key: string;
  readonly name: string;
  readonly sweeps: readonly SweepRequest[];
  /** The piece, with a group of it narrower. */
  graph(narrower?: { readonly sweep: number; readonly width: number }): Graph;
}

export interface SweepRequest extends Pick<Sweep, 'kind' | 'units'> {
  /** Ascending, below `units`. */
  readonly widths: readonly number[];
}

/** Who measures, on the device that a model is made for or in a table of that. */
export interface LatencyMeter {
  /** For people: what is timed, and on what. */
  readonly about: string;
  /** Where the table is. */
  readonly source: string;
  /**
   * A table that has these pieces.
   * @throws UserError when a table that was handed in lacks one
   */
  table(requests: readonly PieceRequest[]): Promise<LatencyTable>;
  /**
   * Milliseconds of a whole model in the form that ships; absent where the device is not at hand.
   * @param options.key under which the table is to have it
   * @param options.beside a model whose time is known: both are timed in the same rounds, and what counts is the ratio
   */
  whole?(graph: Graph, options: { key?: string; beside?: TimedGraph }): Promise<number>;
}

/** A model, and what it takes. */
export interface TimedGraph {
  readonly graph: Graph;
  readonly milliseconds: number;
}

/** Widths that a sweep looks at: some 48 even steps, of which those below a quarter are few. */
export function sweptWidths(units: number): number[] {
  const step = Math.max(1, 2 ** Math.round(Math.log2(units / 48)));
  const widths: number[] = [];
  for (let width = step; width < units; width += step) {
    const coarse = Math.max(step, Math.round(units / 16 / step) * step);
    if (width >= units / 4 || width % coarse === 0) widths.push(width);
  }
  return widths;
}
