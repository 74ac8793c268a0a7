import { UserError } from '../common/errors.ts';
import { printable } from '../common/printable.ts';
import { judge, type Verdict } from './judge.ts';
import type { Hello, Manifest, Measured, Outcome, OutcomeAnswer } from './protocol.ts';
import { type Runner, runners } from './runners.ts';
import { floatsOf } from './text.ts';
import type { Variant } from './variant.ts';

/** A variant by a runner on a device. */
export interface Cell {
  readonly variant: Variant;
  readonly runner: Runner;
  readonly state:
    | { readonly status: 'begun' }
    | { readonly status: 'measured'; readonly figures: Figures; readonly verdict: Verdict | null }
    | { readonly status: 'failed'; readonly reason: string };
}

export type Figures = Omit<Measured, 'device' | 'variant' | 'runner' | 'status' | 'outputs'>;

/** A browser that opened the page and began. */
export interface Device {
  readonly id: string;
  readonly name: string;
  readonly hello: Hello;
  /** ISO 8601 */
  readonly since: string;
  readonly cells: Map<string, Cell>;
  /** It went away, or was done. */
  gone: boolean;
}

export interface LabListener {
  joined?(device: Device): void;
  /** Something about a cell changed. */
  cell?(device: Device, cell: Cell): void;
  left?(device: Device, lost: Cell | undefined): void;
}

export interface LabOptions {
  readonly title: string;
  readonly runs: number;
  readonly warmup: number;
  readonly budget: number;
  readonly limit: number;
  readonly runners: readonly string[];
  readonly pictures: Manifest['pictures'];
  readonly timing: Manifest['timing'];
}

/** Browsers that may take part in one lab. */
const mostDevices = 500;

/** What a lab knows: the variants, who measures them, and what came of it. Nothing here asks how messages arrive. */
export class LabSession {
  readonly variants: readonly Variant[];
  readonly devices = new Map<string, Device>();
  readonly options: LabOptions;
  readonly #listener: LabListener;

  constructor(variants: readonly Variant[], options: LabOptions, listener: LabListener) {
    this.variants = variants;
    this.options = options;
    this.#listener = listener;
  }

  manifest(): Manifest {
    return {
      ...this.options,
      variants: this.variants.map(
        ({ path, run, sha256, madeFrom, expectation, precision, name, ...shown }) => shown,
      ),
    };
  }

  /** @throws UserError when there are too many */
  join(hello: Hello, id: string): Device {
    if (this.devices.size >= mostDevices) throw new UserError('too many devices in this lab; start another');
    const before = hello.again === undefined ? undefined : this.devices.get(hello.again);
    if (before) {
      this.leave(before.id);
      this.devices.delete(before.id);
    }
    const name = this.#freeName(printable(hello.name.trim()) || 'a device');
    const device: Device = {
      id,
      name,
      hello,
      since: new Date().toISOString(),
      cells: new Map(before?.cells),
      gone: false,
    };
    this.devices.set(id, device);
    this.#listener.joined?.(device);
    return device;
  }

  /** Two phones of a kind are two columns. */
  #freeName(wanted: string): string {
    const taken = new Set([...this.devices.values()].map(({ name }) => name));
    for (let count = 1; ; count++) {
      const name = count === 1 ? wanted : `${wanted} (${count})`;
      if (!taken.has(name)) return name;
    }
  }

  /** @throws UserError when there is no such device or variant, or the variant is of another runtime */
  report(outcome: Outcome): OutcomeAnswer {
    const device = this.devices.get(outcome.device);
    const variant = this.variants.find(({ id }) => id === outcome.variant);
    const runner = runners.find(({ id }) => id === outcome.runner);
    if (!device) throw new UserError('no such device; load the page again');
    if (!variant || runner?.format !== variant.format) throw new UserError('no such cell');
    device.gone = false;
    const cell: Cell = { variant, runner, state: stateOf(outcome, variant, runner) };
    device.cells.set(`${variant.id} ${runner.id}`, cell);
    this.#listener.cell?.(device, cell);
    const verdict = cell.state.status === 'measured' ? cell.state.verdict : null;
    return { right: verdict?.right ?? null, error: verdict?.error ?? null };
  }

  /** A device went away: what it was at is lost, all else stays. */
  leave(id: string): void {
    const device = this.devices.get(id);
    if (!device || device.gone) return;
    device.gone = true;
    let lost: Cell | undefined;
    for (const [key, cell] of device.cells) {
      if (cell.state.status !== 'begun') continue;
      lost = cell;
      device.cells.delete(key);
    }
    this.#listener.left?.(device, lost);
  }

  /** A file is no longer what it was when it was listed: nothing more is measured of it. */
  tampered(variant: Variant): void {
    for (const device of this.devices.values()) {
      for (const [key, cell] of device.cells) {
        if (cell.variant !== variant || cell.state.status !== 'begun') continue;
        const failed: Cell = { ...cell, state: { status: 'failed', reason: changed } };
        device.cells.set(key, failed);
        this.#listener.cell?.(device, failed);
      }
    }
  }
}

/** Why a file is not given to a device. */
export const changed = 'the file was changed after the lab began; start the lab again';

function stateOf(outcome: Outcome, variant: Variant, { accelerator }: Runner): Cell['state'] {
  if (outcome.status === 'begun') return { status: 'begun' };
  if (outcome.status === 'failed') return { status: 'failed', reason: printable(outcome.reason) };
  const { device, variant: _, runner, status, outputs, ...figures } = outcome;
  figures.version = printable(figures.version);
  if (!variant.expectation) return { status, figures, verdict: null };
  const found = outputs.map((text) => floatsOf(text) ?? new Float32Array());
  return { status, figures, verdict: judge(found, variant.expectation, accelerator) };
}
