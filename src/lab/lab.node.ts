import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import { withDirectory } from '../pipeline/directory-lock.node.ts';
import { readReport, writeReport } from '../report/files.node.ts';
import type { ReportDevice, ReportDeviceCell } from '../report/schema.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { androidDevice } from './adb/adb.node.ts';
import { measureNatively, type NativeRun } from './adb/measure.node.ts';
import { isInstalled } from './assets.node.ts';
import { type EmulatedName, emulated, runsEmulated } from './emulate.node.ts';
import type { Manifest } from './protocol.ts';
import { deviceResults, withDevices } from './results.ts';
import { runners } from './runners.ts';
import { type Serving, serving } from './serving.node.ts';
import { type Device, type LabListener, LabSession } from './session.ts';
import type { Variant } from './variant.ts';
import { collectVariants } from './variants.node.ts';

export interface LabRunOptions extends Omit<Serving, 'opened'> {
  /** Timed runs of each cell at most, and untimed ones before. */
  runs: number;
  warmup: number;
  /** Seconds that the timed runs of a cell, and those before them, may take. */
  seconds: number;
  /** Seconds that a measurement may take in all; default: four minutes beside those for runs. */
  limit?: number;
  /** Ids of runners; all when there is none. */
  runners: readonly string[];
  /** Also write `.tflite` files of stages that have none. */
  tflite: boolean;
  progress: Progress;
  /** Told when the page can be opened, with its addresses. */
  opened(lab: { addresses: readonly string[]; variants: readonly Variant[]; leftOut: string[] }): void;
  listener: LabListener;
}

export interface LabResult {
  variants: Pick<Variant, 'name' | 'file' | 'format' | 'precision' | 'bytes'>[];
  leftOut: string[];
  devices: ReportDevice[];
  /** Pages that were written anew. */
  reports: string[];
}

/** Seconds for loading, and for what is slower than it should be. */
const usualLimit = 240;

/**
 * Serves the files of runs to devices, until it is told to end. What devices measured becomes part of each run's report
 * whenever one is done, and at the end.
 * @throws UserError when there is nothing to measure, the port is taken, or a runtime is not installed
 */
export async function runLab(sources: readonly string[], options: LabRunOptions): Promise<LabResult> {
  const { progress, listener } = options;
  const tflite = options.tflite && isInstalled('@litertjs/core');
  const { variants, leftOut } = await collectVariants(sources, { engine: onnxruntime, progress, tflite });
  const reports = new Set<string>();
  let saving = Promise.resolve();
  const save = (): Promise<void> => {
    saving = saving.then(async () => {
      const devices = [...session.devices.values()];
      const of = (run: string) => devices.map((device) => resultsFor(device, run));
      for (const page of await saveReports(variants, of, progress)) reports.add(page);
    });
    return saving;
  };
  const session = new LabSession(
    variants,
    {
      title: sources.length === 1 ? sources[0]!.replace(/\/+$/, '') : `${sources.length} runs`,
      runs: options.runs,
      warmup: options.warmup,
      budget: options.seconds * 1000,
      limit: 1000 * (options.limit ?? 2 * options.seconds + usualLimit),
      timing: null,
      pictures: picturesOf(variants.find(({ run }) => run)?.run),
      runners: options.runners.length > 0 ? options.runners : runners.map(({ id }) => id),
    },
    {
      ...listener,
      left(device, lost) {
        listener.left?.(device, lost);
        void save();
      },
    },
  );
  try {
    await serving(session, {
      ...options,
      opened: (addresses) => options.opened({ addresses, variants, leftOut }),
    });
  } finally {
    await save();
  }
  return {
    variants: variants.map(shown),
    leftOut,
    devices: [...session.devices.values()].map((device) => deviceResults(device)),
    reports: [...reports],
  };
}

const shown = ({ name, file, format, precision, bytes }: Variant): LabResult['variants'][number] => ({
  name,
  file,
  format,
  precision,
  bytes,
});

/**
 * What the `.onnx` files of runs compute on an emulated processor; part of each run's report as a device is.
 * @throws UserError when there is nothing to run, or nothing to run it with
 */
export async function emulateLab(
  sources: readonly string[],
  name: EmulatedName,
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<LabResult> {
  const collected = await collectVariants(sources, { engine: onnxruntime, progress, tflite: false });
  const variants = collected.variants.filter(runsEmulated);
  const { device, of } = await emulated(name, variants, { progress, signal });
  const cellsOf = (run: string) => device.cells.filter((cell) => of.get(cell)!.run === run);
  const resultsOf = (run: string) => [{ ...device, cells: cellsOf(run) }];
  const reports = await saveReports(variants, resultsOf, progress);
  return { variants: variants.map(shown), leftOut: collected.leftOut, devices: [device], reports };
}

export interface NativeLabOptions extends Omit<NativeRun, 'cell'> {
  /** Also write `.tflite` files of stages that have none. */
  readonly tflite: boolean;
  /** Of the device, where there are several. */
  readonly serial: string | undefined;
  /** Told of a cell that ended, with its file's title. */
  cell(device: string, title: string, cell: ReportDeviceCell): void;
}

/**
 * Has an Android device that is connected by adb run the files of runs natively; part of each run's report as other devices are.
 * @throws UserError when there is no adb, no device, none of the tools, or nothing to run
 */
export async function nativeLab(
  sources: readonly string[],
  { serial, ...options }: NativeLabOptions,
): Promise<LabResult> {
  const { progress, signal } = options;
  const phone = await androidDevice(serial, { signal });
  const collected = await collectVariants(sources, { engine: onnxruntime, progress, tflite: options.tflite });
  const { variants } = collected;
  const { device, of, leftOut } = await measureNatively(phone, variants, {
    ...options,
    cell: (name, { title }, cell) => options.cell(name, title, cell),
  });
  const cellsOf = (run: string) => device.cells.filter((cell) => of.get(cell)!.run === run);
  const reports = await saveReports(variants, (run) => [{ ...device, cells: cellsOf(run) }], progress);
  return {
    variants: variants.map(shown),
    leftOut: [...collected.leftOut, ...leftOut],
    devices: [device],
    reports,
  };
}

/** The pictures that a run's report shows. */
const picturesOf = (run: string | undefined): Manifest['pictures'] =>
  (run === undefined ? [] : (readReport(run).samplesShown ?? [])).flatMap(({ thumbnail, label }) =>
    thumbnail ? [{ image: thumbnail, label }] : [],
  );

/** Puts what devices measured into the reports of their runs. @returns the pages written */
async function saveReports(
  variants: readonly Variant[],
  resultsOf: (run: string) => readonly ReportDevice[],
  progress: Progress,
): Promise<string[]> {
  const pages: string[] = [];
  for (const run of new Set(variants.flatMap(({ run }) => run ?? []))) {
    const results = resultsOf(run);
    if (results.every(({ cells }) => cells.length === 0)) continue;
    try {
      await withDirectory(run, async () => {
        pages.push(await writeReport(run, withDevices(readReport(run), results)));
      });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      progress.note(`the report of ${run} stays as it is for now: ${error.message}`);
    }
  }
  return pages;
}

const resultsFor = (device: Device, run: string): ReportDevice =>
  deviceResults(
    device,
    [...device.cells.values()].filter(({ variant }) => variant.run === run),
  );
