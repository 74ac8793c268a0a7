import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../common/errors.ts';
import { fileError, writeFileWhole } from '../common/files.node.ts';
import { parseJson } from '../common/json.ts';
import { formats } from '../export/formats.node.ts';
import { reportHtml } from './html.ts';
import { type Report, reportSchema } from './schema.ts';

const names = { data: 'report.json', page: 'report.html' } as const;

const uses = Object.fromEntries(formats.map(({ name, about }) => [name, about]));

/**
 * Writes `report.json` into a folder, and `report.html` with `page`.
 * @returns the path of the page, or of the data when there is none
 */
export async function writeReport(folder: string, report: Report, page = true): Promise<string> {
  const data = join(folder, names.data);
  writeFileWhole(data, `${JSON.stringify(reportSchema.parse(report), null, 2)}\n`);
  if (!page) return data;
  const path = join(folder, names.page);
  writeFileWhole(path, await reportHtml(report, uses));
  return path;
}

/** Reads the `report.json` of a folder. @throws UserError when there is none, or it is no report */
export function readReport(folder: string): Report {
  const path = join(folder, names.data);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(error, `can't read ${path}`);
  }
  const content = parseJson(text, path);
  const parsed = reportSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UserError(`${path} is no report: ${issue?.path.join('.') || 'the document'}: ${issue?.message}`);
}
