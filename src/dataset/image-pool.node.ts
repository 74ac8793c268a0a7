import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { UserError } from '../common/errors.ts';
import { type DataOptions, dataOptions } from './data-options.ts';
import type { ImageLocation } from './dataset.ts';
import type { ImagePool, Preparation } from './image-pool.ts';

/** What a thread is told when it starts. */
export interface WorkerSetup extends Preparation {
  readonly options: DataOptions;
}

/** An image that a thread is to prepare. */
export interface ImageRequest {
  readonly id: number;
  readonly source: ImageLocation | Uint8Array;
  readonly keys: readonly number[];
}

export type ImageAnswer =
  | { readonly id: number; readonly pixels: Float32Array }
  | { readonly id: number; readonly error: string; readonly isUsers: boolean };

interface Waiting {
  resolve(pixels: Float32Array): void;
  reject(error: Error): void;
}

class ImageThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor(setup: WorkerSetup) {
    this.#worker = new Worker(createRequire(import.meta.url).resolve('#image-worker'), { workerData: setup });
    this.#worker.unref();
    this.#worker.on('message', (answer: ImageAnswer) => this.#take(answer));
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', (code) => this.#end(new Error(`a thread that prepares images ended (${code})`)));
  }

  get load(): number {
    return this.#waiting.size;
  }

  run(source: ImageRequest['source'], keys: readonly number[]): Promise<Float32Array> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref();
      const own = source instanceof Uint8Array ? source.slice() : source; // without the buffer it is a part of
      this.#worker.postMessage({ id, source: own, keys } satisfies ImageRequest);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #take(answer: ImageAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if ('pixels' in answer) waiting?.resolve(answer.pixels);
    else waiting?.reject(answer.isUsers ? new UserError(answer.error) : new Error(answer.error));
  }

  #end(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/**
 * Starts threads that prepare the images of a split.
 * @param source where the bytes of an image lie, or the bytes
 */
export function imagePool(
  threads: number,
  preparation: Preparation,
  options: DataOptions,
  source: (index: number) => Promise<ImageLocation | Uint8Array>,
): ImagePool {
  const setup: WorkerSetup = { ...preparation, options: dataOptions.parse(options) }; // of a caller's, no more than that
  const members = Array.from({ length: threads }, () => new ImageThread(setup));
  return {
    threads,
    async prepare(index, keys) {
      const bytes = await source(index);
      const idlest = members.reduce((best, thread) => (thread.load < best.load ? thread : best));
      return idlest.run(bytes, keys);
    },
    async close() {
      await Promise.all(members.map((thread) => thread.close()));
    },
  };
}
