import { closeSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileError, makeFolder } from '../common/files.node.ts';
import type { EpochRecord, StepRecord } from '../train/checkpoint.ts';
import type { TrainingWatcher, WatchedRun } from '../train/watch.ts';
import { restartRecord, scalarsRecord, versionRecord } from './tensorboard.ts';

/** Seconds after which figures are written, so that a page beside the training is up to date. */
const writtenEvery = 2;

/**
 * Writes what TensorBoard reads into a folder: loss, learning rate, norm of the gradients and speed of each step, and
 * top-1 of each epoch. A training that goes on adds a file, which replaces what the earlier one did after
 * the checkpoint.
 */
export class EventFile implements TrainingWatcher {
  readonly #folder: string;
  #file: number | undefined;
  #waiting: Uint8Array[] = [];
  #writtenAt = 0;
  #steppedAt = 0;
  #imagesAStep = 0;

  /** @throws UserError when nothing can be written into the folder, as everything here */
  constructor(folder: string) {
    this.#folder = folder;
    this.#trying(() => makeFolder(folder));
  }

  begin({ history, imagesAStep }: WatchedRun): void {
    this.#imagesAStep = imagesAStep;
    this.#trying(() => {
      const now = Math.floor(Date.now() / 1000);
      const name = `events.out.tfevents.${now}.${hostname()}.${process.pid}.pqv`;
      this.#file = openSync(join(this.#folder, name), 'w');
    });
    const done = history.steps.at(-1)?.step;
    this.#waiting.push(versionRecord(seconds()));
    if (done !== undefined) this.#waiting.push(restartRecord(seconds(), done + 1));
    this.#write();
  }

  step({ step, loss, lr, gradNorm }: StepRecord): void {
    const now = performance.now();
    const rate = this.#steppedAt ? (1000 * this.#imagesAStep) / (now - this.#steppedAt) : undefined;
    this.#steppedAt = now;
    this.#add(step, {
      'train/loss': loss,
      'train/lr': lr,
      'train/grad_norm': gradNorm,
      'train/images_per_second': rate,
    });
    if (now - this.#writtenAt > 1000 * writtenEvery) this.#write();
  }

  epoch({ epoch, loss, trainTop1, top1 }: EpochRecord): void {
    this.#add(epoch, { 'epoch/loss': loss, 'epoch/train_top1': trainTop1, 'epoch/top1': top1 });
    this.#write();
  }

  end(): void {
    this.#write();
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #add(step: number, values: Readonly<Record<string, number | undefined>>): void {
    const known = Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== undefined);
    this.#waiting.push(scalarsRecord({ time: seconds(), step, values: Object.fromEntries(known) }));
  }

  #write(): void {
    const bytes = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#writtenAt = performance.now();
    this.#trying(() => {
      for (let at = 0; this.#file !== undefined && at < bytes.length; ) {
        at += writeSync(this.#file, bytes, at);
      }
    });
  }

  #trying(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw fileError(error, `can't write TensorBoard's files into ${this.#folder}`);
    }
  }
}

const seconds = (): number => Date.now() / 1000;
