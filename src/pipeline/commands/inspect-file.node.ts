import { existsSync, statSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { UserError } from '../../common/errors.ts';
import { fileError, refuseDevices } from '../../common/files.node.ts';
import type { Card } from '../../export/card-schema.ts';
import { fileDigest } from '../../export/export-file.node.ts';
import type { FileContents } from '../../export/file-contents.ts';
import type { Format } from '../../export/format.ts';
import { formatOfFile } from '../../export/formats.node.ts';
import { cardOf, readCard } from '../../export/read-card.node.ts';
import { modelExtensions } from '../../zoo/load.node.ts';

/** A file for a runtime, as `inspect` shows it. */
export interface FileInspection {
  file: string;
  format: string;
  /** Who loads it. */
  about: string;
  bytes: number;
  sha256: string;
  /** What it says of itself; null for formats that are not looked into. */
  contents: FileContents | null;
  /** What `NAME.json` beside it says, the golden sample's pixels apart; null where there is none. */
  card: FileCardInspection | null;
}

export type FileCardInspection = Omit<Card, 'golden'> & {
  file: string;
  /** Whether it is of this file: its SHA-256 is the file's. */
  fits: boolean;
  golden: Omit<NonNullable<Card['golden']>, 'image'> | null;
};

/** The format of a file that is there and is for a runtime; nothing for one that is a model, which says more of itself. */
export function runtimeFormat(reference: string): Format | undefined {
  const format = formatOfFile(reference);
  if (!format || !existsSync(reference)) return undefined;
  if (!modelExtensions.has(extname(reference).toLowerCase())) return format;
  return format.isOne?.(reference) ? format : undefined;
}

/**
 * What a file for a runtime is: by its own words, and by its card's.
 * @throws UserError when it is no such file, or it or its card is damaged
 */
export async function inspectFile(path: string, format: Format): Promise<FileInspection> {
  try {
    refuseDevices(path);
  } catch (error) {
    throw fileError(error, `can't read ${path}`);
  }
  if (format.isOne?.(path) === false) throw new UserError(`${path} is no file for ${format.about}`);
  const contents = format.contents?.(path) ?? null;
  const sha256 = await fileDigest(path);
  const card = readCard(path);
  return {
    file: path,
    format: format.name,
    about: format.about,
    bytes: statSync(path).size,
    sha256,
    contents,
    card: card ? shown(card, basename(cardOf(path)), card.sha256 === sha256) : null,
  };
}

function shown({ golden, ...card }: Card, file: string, fits: boolean): FileCardInspection {
  const sample = golden && { top5: golden.top5, tolerance: golden.tolerance };
  return { file, fits, ...card, golden: sample };
}
