import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { writeFileWhole } from '../common/files.node.ts';
import { parseJsonAs } from '../common/json.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import { prune } from '../library/prune.ts';
import { writeShipped } from '../measure/graph-timer.node.ts';
import { sweepLatency, undisturbed } from '../measure/latency-sweep.ts';
import { openModel } from '../pipeline/open.node.ts';
import { type LatencyTable, latencyTable, type Precision } from '../prune/latency-table.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { DeviceTimer, type TimedFile } from './device-timer.ts';
import { type Serving, serving } from './serving.node.ts';
import { type LabListener, LabSession } from './session.ts';

/** Timed rounds of graphs, as this machine's own tables have them. */
const rounds = { piece: 15, model: 25 } as const;

export interface TableOptions extends Serving {
  /** Where the table goes; one that is there is added to. */
  file: string;
  precision: Precision;
  threads: 'one' | 'many';
  progress: Progress;
  listener: LabListener;
}

export interface TableResult {
  file: string;
  engine: string;
  device: string;
  threads: number;
  pieces: number;
  points: number;
}

/**
 * Has a device measure what `pqv prune --latency-table` needs to choose widths for it: every piece of the model at the widths
 * that pruning looks at, in onnxruntime-web.
 * @throws UserError when the device left, or the file has another device's table; what was measured is in the file
 */
export async function measureTable(reference: string, options: TableOptions): Promise<TableResult> {
  const { file, listener, signal } = options;
  const model = await openModel(reference);
  const timer = new DeviceTimer();
  const session = new LabSession(
    [],
    {
      title: reference,
      runs: 0,
      warmup: 0,
      budget: 0,
      limit: 0,
      runners: [],
      pictures: [],
      timing: options.threads,
    },
    {
      ...listener,
      left(device, lost) {
        listener.left?.(device, lost);
        timer.lost(device.id, `${device.name} left; ${file} has what it measured: run this again to go on`);
      },
    },
  );
  signal.addEventListener('abort', () => timer.end());
  const scratch = mkdtempSync(join(tmpdir(), 'pqv-lab-'));
  const table = new DeviceTable(timer, session, options, scratch);
  const failure: { error?: unknown } = {};
  const done = table.measure(model).catch((error) => {
    failure.error = error;
  });
  try {
    await serving(session, options, { timer, done: done.finally(() => timer.end()) });
    await done;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  if (failure.error) throw failure.error;
  return table.summary();
}

/** A table as it fills. */
class DeviceTable {
  readonly #timer: DeviceTimer;
  readonly #session: LabSession;
  readonly #options: TableOptions;
  readonly #scratch: string;
  #table: LatencyTable | undefined;

  constructor(timer: DeviceTimer, session: LabSession, options: TableOptions, scratch: string) {
    this.#timer = timer;
    this.#session = session;
    this.#options = options;
    this.#scratch = scratch;
  }

  /** Asks for what pruning asks for: the pass itself is run, for its questions alone. */
  async measure(model: Graph): Promise<void> {
    const { progress, precision, file } = this.#options;
    const latency = {
      about: `${precision}, on a device of the lab`,
      source: file,
      table: async (requests: Parameters<typeof sweepLatency>[1]) => {
        const table = await this.#begun(requests[0]!.graph());
        const time = async (graphs: readonly Graph[]) => (await this.#time(graphs, rounds.piece)).times;
        await sweepLatency(table, requests, time, { progress, save: () => this.#save(table) });
        return table;
      },
      whole: async (graph: Graph, { key }: { key?: string }) => {
        const { times } = await this.#time([graph], rounds.model);
        const milliseconds = undisturbed(times[0]!);
        if (key !== undefined) this.#table!.models[key] = milliseconds;
        this.#save(this.#table!);
        return milliseconds;
      },
    };
    await prune(onnxruntime, model, { ratio: 0.1, roundTo: 'auto', importance: 'l1', check: false, latency });
  }

  /** The table of the device that came: the one that is there, or an empty one. */
  async #begun(trial: Graph): Promise<LatencyTable> {
    const { file, precision } = this.#options;
    const { engine, threads } = await this.#time([trial], 1);
    const device = [...this.#session.devices.values()].find(({ id }) => this.#timer.isMine(id))!;
    const fresh: LatencyTable = {
      format: 'pqv latency table 1',
      engine,
      processor: device.name,
      threads,
      precision,
      batch: 1,
      pieces: {},
      models: {},
    };
    const known = existsSync(file) ? parseJsonAs(latencyTable, readFileSync(file, 'utf8'), file) : undefined;
    for (const fact of ['engine', 'processor', 'threads', 'precision'] as const) {
      if (known && known[fact] !== fresh[fact]) {
        throw new UserError(
          `${file} has times of ${known.processor} (${known.engine}, ${known.threads} threads, ${known.precision}), not of ${device.name} (${engine}, ${threads} threads, ${precision}): name another file`,
        );
      }
    }
    this.#table = known ?? fresh;
    return this.#table;
  }

  async #time(graphs: readonly Graph[], least: number) {
    const files: TimedFile[] = [];
    for (const [i, graph] of graphs.entries()) {
      const path = join(this.#scratch, `${i}.onnx`);
      await writeShipped(graph, path, { engine: onnxruntime, precision: this.#options.precision });
      const inputs = graph.inputs.filter((input) => !input.isConstant);
      files.push({
        bytes: readFileSync(path),
        inputs: inputs.map(({ name, shape }) => ({ name, shape: lengths(shape) })),
      });
    }
    return this.#timer.time(files, least);
  }

  #save(table: LatencyTable): void {
    writeFileWhole(this.#options.file, `${JSON.stringify(table)}\n`);
  }

  summary(): TableResult {
    const { engine, processor, threads, pieces } = this.#table!;
    const all = Object.values(pieces);
    const points = all.flatMap(({ sweeps }) => sweeps.flatMap((sweep) => sweep.points)).length;
    return { file: this.#options.file, engine, device: processor, threads, pieces: all.length, points };
  }
}

/** Of one image. */
const lengths = (shape: Graph['inputs'][number]['shape']): number[] =>
  (shape ?? []).map((length) => (typeof length === 'number' ? length : 1));
