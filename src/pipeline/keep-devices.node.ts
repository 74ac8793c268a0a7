import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { fileDigest } from '../export/export-file.node.ts';
import { readReport } from '../report/files.node.ts';
import type { Report, ReportDevice, ReportDeviceCell } from '../report/schema.ts';

/** What stays of an earlier report's devices. */
export interface KeptDevices {
  devices: ReportDevice[];
  /** For people; nothing where there was nothing to decide. */
  note: string | undefined;
}

/**
 * What devices measured for the earlier report of a run directory and is still true: of files that the new report has too, or
 * that a lab wrote from one of these, with the same bytes. All else goes.
 * @param report the new one; its files are in their places
 */
export async function keptDevices(directory: string, report: Report): Promise<KeptDevices> {
  const before = devicesBefore(directory);
  const files = new Set([...report.stages, ...report.artifacts].map(({ file }) => file));
  const digests = new Map<string, string | undefined>();
  const isSame = async (file: string, sha256: string | undefined): Promise<boolean> => {
    const path = join(directory, file);
    if (!digests.has(file)) digests.set(file, existsSync(path) ? await fileDigest(path) : undefined);
    return sha256 !== undefined && digests.get(file) === sha256;
  };
  const isTrue = async ({ file, sha256, madeFrom }: ReportDeviceCell): Promise<boolean> => {
    const source = madeFrom ?? { file, sha256 };
    if (!files.has(source.file) || !(await isSame(source.file, source.sha256))) return false;
    return madeFrom === undefined || isSame(file, sha256);
  };
  const devices: ReportDevice[] = [];
  const dropped: string[] = [];
  let kept = 0;
  for (const device of before) {
    const cells: ReportDeviceCell[] = [];
    for (const cell of device.cells) {
      if (await isTrue(cell)) cells.push(cell);
      else dropped.push(cell.file);
    }
    kept += cells.length;
    if (cells.length > 0) devices.push({ ...device, cells });
  }
  return { devices, note: before.length > 0 ? noteOf(kept, dropped) : undefined };
}

/** A report that can't be read has none. */
function devicesBefore(directory: string): readonly ReportDevice[] {
  if (!existsSync(join(directory, 'report.json'))) return [];
  try {
    return readReport(directory).devices ?? [];
  } catch (error) {
    if (error instanceof UserError) return [];
    throw error;
  }
}

function noteOf(kept: number, dropped: readonly string[]): string {
  const stays = `devices of the earlier report: ${kept} measurement${kept === 1 ? '' : 's'} kept`;
  if (dropped.length === 0) return stays;
  return `${stays}, ${dropped.length} dropped, whose files are others now: ${[...new Set(dropped)].join(', ')}`;
}
