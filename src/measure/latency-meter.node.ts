import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readText } from '../checkpoint/open.node.ts';
import { UserError } from '../common/errors.ts';
import { writeFileWhole } from '../common/files.node.ts';
import { parseJsonAs } from '../common/json.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import {
  type LatencyMeter,
  type LatencyTable,
  latencyTable,
  type PieceRequest,
  type Precision,
} from '../prune/latency-table.ts';
import type { Engine } from '../runtime/session.ts';
import { GraphTimer } from './graph-timer.node.ts';
import { sweepLatency, undisturbed } from './latency-sweep.ts';
import { describeMachine } from './machine.node.ts';
import { quantile } from './quantile.ts';

/** Timed runs of a graph of a sweep, and of a whole model. */
const rounds = { piece: 15, model: 25 } as const;

export interface MeterOptions {
  engine: Engine;
  threads: number;
  /** Of the model that ships; default: the table's, without one int8. */
  precision?: Precision | undefined;
  /** A file with a table that was measured elsewhere, or here: nothing is added to it. */
  tableFile?: string | undefined;
  /** Of this package: its passes are part of what is measured. */
  version: string;
  progress: Progress;
  signal?: AbortSignal | undefined;
}

/** Measures on this machine, or reads what was measured on another; to be closed. */
export interface ClosableMeter extends LatencyMeter {
  close(): Promise<void>;
}

/**
 * A meter of this machine, with its table in the user's cache folder; or one that has the table of a file.
 * @throws UserError when the file is no table, or of another precision than is asked for
 */
export function latencyMeter(options: MeterOptions): ClosableMeter {
  const { tableFile, threads } = options;
  const given = tableFile === undefined ? undefined : readTable(tableFile);
  if (given && options.precision && given.precision !== options.precision) {
    throw new UserError(`${tableFile} has ${given.precision} times, not ${options.precision}`);
  }
  const precision = given?.precision ?? options.precision ?? 'int8';
  const here = emptyTable(options, precision);
  const cache = cacheFile(options.version, here);
  const table = given ?? (existsSync(cache) ? readTable(cache) : here);
  const isHere =
    table.engine === here.engine && table.processor === here.processor && table.threads === threads;
  let timer: GraphTimer | undefined;
  const time = async (graphs: readonly Graph[], count: number) => {
    timer ??= new GraphTimer({ ...options, precision });
    return timer.time(graphs, count);
  };
  const { progress } = options;
  const save = () => writeFileWhole(cache, `${JSON.stringify(table)}\n`);
  const whole: LatencyMeter['whole'] = async (graph, { key, beside }) => {
    const times = await time([...(beside ? [beside.graph] : []), graph], rounds.model);
    const milliseconds = beside
      ? (beside.milliseconds * undisturbed(times[1]!)) / undisturbed(times[0]!)
      : quantile(times[0]!, 0.5);
    if (key !== undefined && tableFile === undefined) {
      table.models[key] = milliseconds;
      save();
    }
    return milliseconds;
  };
  return {
    about: `${precision}, ${table.engine}, ${table.threads} threads, ${table.processor}`,
    source: tableFile ?? cache,
    async table(requests) {
      if (tableFile !== undefined) assertHas(table, requests, tableFile);
      else {
        await sweepLatency(table, requests, (graphs) => time(graphs, rounds.piece), {
          progress,
          save,
        });
      }
      return table;
    },
    ...(isHere ? { whole } : {}),
    async close() {
      await timer?.close();
    },
  };
}

/** More than any table has, which is some kB a model. */
const largestTable = 2 ** 26;

function emptyTable({ engine, threads }: MeterOptions, precision: Precision): LatencyTable {
  const { cpu, processorClass } = describeMachine(engine.name, threads);
  return {
    format: 'pqv latency table 1',
    engine: engine.name,
    processor: `${cpu} (${processorClass})`,
    threads,
    precision,
    batch: 1,
    pieces: {},
    models: {},
  };
}

/** Where the tables of this machine are kept: `$XDG_CACHE_HOME/pqv-mobile/latency`, by default under `~/.cache`. */
function cacheFile(version: string, { engine, processor, threads, precision }: LatencyTable): string {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pqv-mobile', 'latency');
  const name = `${version} ${engine} ${processor} ${threads} threads ${precision}`;
  return join(folder, `${name.replace(/[^A-Za-z0-9.]+/g, '-')}.json`);
}

function readTable(path: string): LatencyTable {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes > largestTable) throw new UserError(`${path} is no latency table: it has ${bytes} bytes`);
  return parseJsonAs(latencyTable, readText(path), path);
}

/** @throws UserError naming the first piece that is not there, or has other groups */
function assertHas(table: LatencyTable, requests: readonly PieceRequest[], path: string): void {
  for (const { key, name, sweeps } of requests) {
    const piece = table.pieces[key];
    if (!piece) {
      throw new UserError(
        `${path} has no times of ${name} (piece ${key}): it was measured for a model of other sizes`,
      );
    }
    const fits =
      sweeps.length === piece.sweeps.length &&
      sweeps.every(({ kind, units }, i) => {
        const known = piece.sweeps[i]!;
        return known.kind === kind && known.units === units && known.points.at(-1)![0] === units;
      });
    if (!fits)
      throw new UserError(`${path}: the sweeps of ${name} (piece ${key}) are not those of this model`);
  }
}
