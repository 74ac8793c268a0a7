import type { Report, ReportDevice, ReportDeviceCell } from '../report/schema.ts';
import { runnerTitle, threadsOf } from './runners.ts';
import type { Cell, Device } from './session.ts';
import type { Variant } from './variant.ts';

/** A device's results as reports keep them; cells that are under way are none. */
export function deviceResults(device: Device, cells: Iterable<Cell> = device.cells.values()): ReportDevice {
  const { hello, name, since } = device;
  return {
    name,
    userAgent: hello.userAgent,
    cores: hello.cores,
    memoryGigabytes: hello.memory,
    gpu: hello.gpu,
    isolated: hello.isolated,
    relaxedSimd: hello.relaxedSimd,
    measuredAt: since,
    cells: [...cells].flatMap((cell) => cellResult(device, cell) ?? []),
  };
}

/** What a cell says of its file. */
export const fileFacts = ({ file, name, precision, format, sha256, madeFrom }: Variant) => ({
  ...{ file, sha256, name, precision, format },
  ...(madeFrom ? { madeFrom } : {}),
});

function cellResult({ hello }: Device, { variant, runner, state }: Cell): ReportDeviceCell | undefined {
  if (state.status === 'begun') return undefined;
  const { runtime, accelerator } = runner;
  const threads = state.status === 'measured' ? state.figures.threads : threadsOf(runner, hello);
  const facts = { ...fileFacts(variant), accelerator, threads, how: runnerTitle(runner, threads) };
  if (state.status === 'failed') return { ...facts, runtime, failed: state.reason };
  const { version, median, p95, runs, first, load, warmup, delegated, memory } = state.figures;
  return {
    ...facts,
    runtime: `${runtime} ${version}`,
    latencyMs: { median, p95, runs },
    firstMs: first,
    loadMs: load,
    warmup,
    delegated,
    memoryBytes: memory,
    error: state.verdict?.error,
    right: state.verdict ? state.verdict.right : null,
  };
}

/** A report with devices' results in the place of what was known of devices of these names; other cells of theirs stay. */
export function withDevices(report: Report, devices: readonly ReportDevice[]): Report {
  const merged = [...(report.devices ?? [])];
  for (const device of devices) {
    if (device.cells.length === 0) continue;
    const at = merged.findIndex(({ name }) => name === device.name);
    if (at < 0) {
      merged.push(device);
      continue;
    }
    const isNew = (cell: ReportDeviceCell) =>
      device.cells.some((one) => one.file === cell.file && one.how === cell.how);
    const kept = merged[at]!.cells.filter((cell) => !isNew(cell));
    merged[at] = { ...device, cells: [...kept, ...device.cells] };
  }
  return merged.length > 0 ? { ...report, devices: merged } : report;
}
