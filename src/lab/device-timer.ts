import { UserError } from '../common/errors.ts';

/** A graph that a device is to time. */
export interface TimedFile {
  readonly bytes: Uint8Array;
  /** What it takes; every length a number. */
  readonly inputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

/** Graphs to be timed side by side, as a page is told of them. */
export interface TimingTask {
  readonly id: number;
  /** Where each is, below the lab's address. */
  readonly graphs: readonly { readonly path: string; readonly inputs: TimedFile['inputs'] }[];
  /** At least; three times as many while they do not settle. */
  readonly rounds: number;
}

/** What a device timed: for each graph the milliseconds of each round. */
export interface TimingResult {
  readonly id: number;
  readonly times: readonly (readonly number[])[];
  /** Name and version of the runtime, and the threads it took. */
  readonly engine: string;
  readonly threads: number;
}

interface Open {
  readonly task: TimingTask;
  readonly files: readonly TimedFile[];
  resolve(result: TimingResult): void;
  reject(error: Error): void;
}

/**
 * Hands graphs to one device, a task after the other, and takes the times back. The first device that asks is the one; what
 * several measure is no table of any.
 */
export class DeviceTimer {
  #device: string | undefined;
  #open: Open | undefined;
  #count = 0;
  #over: Error | 'done' | undefined;
  #waiting: (() => void)[] = [];

  /**
   * Has graphs timed.
   * @throws UserError when the device left, or could not
   */
  time(files: readonly TimedFile[], rounds: number): Promise<TimingResult> {
    const id = ++this.#count;
    const graphs = files.map(({ inputs }, i) => ({ path: `graph/${id}/${i}`, inputs }));
    return new Promise((resolve, reject) => {
      if (this.#over instanceof Error) return reject(this.#over);
      this.#open = { task: { id, graphs, rounds }, files, resolve, reject };
      this.#wake();
    });
  }

  /** Whether a device is the one that measures; the first that asks is. */
  isMine(device: string): boolean {
    this.#device ??= device;
    return this.#device === device;
  }

  /** Takes a result that a device has. */
  take(device: string, result: TimingResult): void {
    const open = this.#open;
    if (!this.isMine(device) || open?.task.id !== result.id) return;
    if (result.times.length !== open.files.length) throw new UserError('times of other graphs');
    this.#open = undefined;
    open.resolve(result);
  }

  /** What a device is to do next, once there is something: a task, `done`, or `wait` when it has to ask again. */
  async next(device: string, patience: number): Promise<TimingTask | 'done' | 'wait'> {
    if (!this.isMine(device))
      throw new UserError('another device measures this table; one that several measure is of none');
    if (!this.#open && !this.#over) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        setTimeout(resolve, patience).unref?.();
      });
    }
    if (this.#over) return 'done';
    return this.#open?.task ?? 'wait';
  }

  /** The bytes of `graph/TASK/INDEX`; undefined for any other. */
  bytes(path: string): Uint8Array | undefined {
    const { task, files } = this.#open ?? {};
    const place = task?.graphs.findIndex((graph) => graph.path === path) ?? -1;
    return files?.[place]?.bytes;
  }

  /** A device went away, or can't go on. */
  lost(device: string, why: string): void {
    if (this.#device === device && this.#over === undefined) this.#end(new UserError(why));
  }

  /** Nothing more is to be timed. */
  end(): void {
    this.#end('done');
  }

  #end(how: Error | 'done'): void {
    this.#over ??= how;
    const open = this.#open;
    this.#open = undefined;
    open?.reject(how instanceof Error ? how : new UserError('the lab was ended'));
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
