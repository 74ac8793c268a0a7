import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onnxFormat } from '../export/onnx.node.ts';
import type { Graph } from '../graph/graph.ts';
import { linears } from '../graph/linear.ts';
import type { Precision } from '../prune/latency-table.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { onnxruntimeFiles } from '../runtime/runtimes.node.ts';
import type { Engine } from '../runtime/session.ts';
import { settled } from './latency-sweep.ts';
import { LatencyWorker } from './latency-worker.node.ts';

/** Runs of a graph before its first timed one. */
const warmup = 3;

/**
 * Times float graphs as they would ship: quantized where that is the precision, laid out by our passes, written, each in
 * a child process of its own. The processes stay, and are given other graphs.
 */
export class GraphTimer {
  readonly #settings: { engine: Engine; precision: Precision; threads: number; signal?: AbortSignal };
  readonly #scratch = mkdtempSync(join(tmpdir(), 'pqv-latency-'));
  readonly #workers: LatencyWorker[] = [];
  /** What each process has loaded: a graph that takes the same place again is neither written nor loaded anew. */
  readonly #loaded: Graph[] = [];
  readonly #kill = () => {
    for (const worker of this.#workers) worker.kill();
  };

  constructor(settings: { engine: Engine; precision: Precision; threads: number; signal?: AbortSignal }) {
    this.#settings = settings;
    process.on('exit', this.#kill);
    settings.signal?.addEventListener('abort', this.#kill);
  }

  /**
   * Milliseconds of images one by one: for each graph those of each round, in which every graph has one timed run, from
   * another one on each time. Rounds go on until `settled`.
   * @param rounds at least, and at most three times as many
   */
  async time(graphs: readonly Graph[], rounds: number): Promise<number[][]> {
    const { signal, threads } = this.#settings;
    try {
      for (const [i, graph] of graphs.entries()) {
        signal?.throwIfAborted();
        if (this.#loaded[i] === graph) continue;
        const path = join(this.#scratch, `${i}.onnx`);
        await writeShipped(graph, path, this.#settings);
        this.#workers[i] ??= new LatencyWorker(onnxruntimeFiles.command(), path);
        await this.#workers[i].ask<'load'>({ op: 'load', path, threads, batch: 1 });
        await this.#workers[i].ask<'run'>({ op: 'run', untimed: warmup, timed: 0 });
        this.#loaded[i] = graph;
      }
      const times: number[][] = graphs.map(() => []);
      for (let round = 0; round < rounds || (round < 3 * rounds && !settled(times)); round++) {
        for (let turn = 0; turn < graphs.length; turn++) {
          const i = (round + turn) % graphs.length;
          const { milliseconds } = await this.#workers[i]!.ask<'run'>({ op: 'run', untimed: 1, timed: 1 });
          times[i]!.push(...milliseconds);
        }
      }
      return times;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  async close(): Promise<void> {
    process.off('exit', this.#kill);
    this.#settings.signal?.removeEventListener('abort', this.#kill);
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

/** Writes a float graph as it would ship: quantized where that is the precision, laid out by our passes. */
export async function writeShipped(
  graph: Graph,
  path: string,
  { engine, precision }: { engine: Engine; precision: Precision },
): Promise<void> {
  const ships =
    precision === 'int8' && linears(graph).length > 0 ? await quantizeDynamic(engine, graph) : graph;
  await onnxFormat.write({ engine, graph: ships, path, options: {} });
}
