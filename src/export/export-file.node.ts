import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { UserError } from '../common/errors.ts';
import { assertReplaceable, writeFileWhole } from '../common/files.node.ts';
import { optionsOf, validated } from '../common/options.ts';
import type { Graph } from '../graph/graph.ts';
import { quantizationWarning } from '../quantize/describe.ts';
import { quantization } from '../quantize/record.ts';
import type { Engine } from '../runtime/session.ts';
import { appOptions, inAppForm } from '../zoo/app-form.ts';
import { writeChecked } from './artifact.node.ts';
import { fileCard } from './file-card.ts';
import type { Format } from './format.ts';
import { formatNamed, formatOfFile, formats } from './formats.node.ts';
import { cardOf } from './read-card.node.ts';

/** A file that ships. */
export interface Artifact {
  format: string;
  file: string;
  /** What an app must know of it, and a sample to test itself by: `FileCard` as JSON. */
  card: string;
  /** Weights in a file beside it included. */
  bytes: number;
  /** Loaded, run and compared with the graph; or read back and found to hold together. */
  verified: 'run' | 'structure';
  /** What one should know of it, a sentence each. */
  notes: string[];
}

/**
 * Writes a model in a format, and checks the file before it takes its place. Beside it comes its card, `NAME.json`.
 * @param format its name
 * @param options of the format: `form`, `xnnpack`; of any: `input`, `scores`
 * @throws UserError when the place can't be written, an op has no form there, an option is of another
 *   format, or the file is named as another format is
 * @throws Error when the file is broken or computes something else
 */
export async function exportModelFile(
  engine: Engine,
  graph: Graph,
  format: string,
  path: string,
  { input, scores, ...options }: Readonly<Record<string, unknown>> = {},
): Promise<Artifact> {
  const row = formatNamed(format);
  assertOwnOptions(row, options);
  const named = formatOfFile(path);
  if (named && named !== row) {
    throw new UserError(
      `${path} is named as --format ${named.name} is; the format ${format} goes into a ${row.extension} file`,
    );
  }
  const app = validated(appOptions, { input, scores });
  const written = inAppForm(graph, app);
  const target = { engine, graph: written, options: validated(row.options, options) };
  const card = cardOf(path);
  assertReplaceable(card);
  const notRun = await writeChecked(
    path,
    (draft) => row.write({ ...target, path: draft }),
    async (draft) => {
      const reason = await row.verify({ ...target, path: draft });
      const file = { bytes: statSync(draft).size, sha256: await fileDigest(draft) };
      const facts = await fileCard(engine, { source: graph, written, side: app }, row, file);
      writeFileWhole(cardOf(draft), `${JSON.stringify(facts, null, 2)}\n`);
      return reason;
    },
  );
  const external = statSync(`${path}.data`, { throwIfNoEntry: false })?.size ?? 0;
  const record = quantization(graph);
  const warning = record && quantizationWarning(record);
  const notes = warning ? [warning] : [];
  if (notRun) notes.push(`checked by its structure, not run: ${notRun}`);
  const bytes = statSync(path).size + external;
  return { format, file: path, card, bytes, verified: notRun ? 'structure' : 'run', notes };
}

/** SHA-256 of a file, in hexadecimal. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest('hex');
}

/** @throws UserError naming the formats that an option is for, when this is none of them */
function assertOwnOptions(row: Format, options: Readonly<Record<string, unknown>>): void {
  const has = (format: Format, key: string) => Object.hasOwn(format.options.shape, key);
  for (const [key, value] of Object.entries(options)) {
    const others = formats.filter((format) => has(format, key));
    if (value === undefined || has(row, key) || others.length === 0) continue;
    const { name } = optionsOf(others[0]!.options).find((option) => option.key === key)!;
    throw new UserError(
      `--${name} is for --format ${others.map((format) => format.name).join(' or ')}, not ${row.name}`,
    );
  }
}
