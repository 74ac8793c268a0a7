import type { CellMessage, Job } from './cell.ts';
import { base, model } from './client.ts';
import type { Row } from './rows.ts';

/** A variant in a runtime, in a worker, for as many inputs as come. */
export class ServedModel {
  readonly row: Row;
  readonly #worker: Worker;

  private constructor(row: Row, worker: Worker) {
    this.row = row;
    this.#worker = worker;
  }

  /** @throws Error with what the runtime said */
  static async open(row: Row): Promise<ServedModel> {
    const { variant, runner, threads } = row;
    const bytes = await model(`model/${variant.id}`, () => {});
    const served = new ServedModel(row, new Worker(`${base}cell.js`));
    const job: Job = {
      model: bytes,
      variant,
      runner,
      threads,
      runs: 0,
      warmup: 0,
      budget: 0,
      base,
      purpose: 'serve',
    };
    await served.#next('ready');
    await served.#ask(job, [bytes], 'ready');
    return served;
  }

  /** Outputs for one input, and milliseconds. */
  async run(input: Float32Array | Uint8Array): Promise<{ outputs: Float32Array; milliseconds: number }> {
    const began = performance.now();
    const { outputs } = await this.#ask(input, [], 'outputs');
    return { outputs, milliseconds: performance.now() - began };
  }

  close(): void {
    this.#worker.terminate();
  }

  #ask<T extends CellMessage['type']>(message: unknown, handed: Transferable[], type: T) {
    const answer = this.#next(type);
    this.#worker.postMessage(message, handed);
    return answer;
  }

  #next<T extends CellMessage['type']>(type: T): Promise<Extract<CellMessage, { type: T }>> {
    return new Promise((resolve, reject) => {
      this.#worker.onerror = ({ message }) =>
        reject(new Error(message || 'the runtime could not be started'));
      this.#worker.onmessage = ({ data }: MessageEvent<CellMessage>) => {
        if (data.type === type) resolve(data as Extract<CellMessage, { type: T }>);
        else if (data.type === 'failed') reject(new Error(data.reason));
      };
    });
  }
}
