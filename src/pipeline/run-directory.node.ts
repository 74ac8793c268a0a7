import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { writeFileWhole } from '../common/files.node.ts';

/** What a finished stage leaves: its result, and what tells whether that and the stage's files are still whole. */
const markerSchema = z.object({
  key: z.string(),
  result: z.unknown(),
  /** Of `result` as JSON. */
  sha256: z.string(),
  /** Sizes of the stage's files by their path in its folder. */
  files: z.record(z.string(), z.number()),
});
type Marker = z.output<typeof markerSchema>;

const pendingSchema = z.object({ key: z.string() });

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The stable fingerprint of what a stage depends on. */
export const fingerprint = (...parts: unknown[]): string => digest(JSON.stringify(parts)).slice(0, 16);

/**
 * A folder in which each finished stage has a folder of its own and, written last, a `stage.json` with
 * its result and the fingerprint of everything it came from. A stage whose fingerprint still matches
 * need not be done again. A marker that is damaged, of an older version, or of files that are no longer what they
 * were counts as none.
 */
export class RunDirectory {
  readonly path: string;
  readonly #resume: boolean;

  /** @param resume take over finished stages; otherwise every stage is done anew */
  constructor(path: string, resume: boolean) {
    this.path = path;
    this.#resume = resume;
  }

  folder(stage: string): string {
    return join(this.path, stage);
  }

  /**
   * The result of a stage: taken over when it was finished under the same key, else made by `work`,
   * which is given the stage's folder. An unfinished stage's files stay for `work` to resume from.
   */
  async stage<R>(
    name: string,
    key: string,
    work: (folder: string) => Promise<R>,
    resumed: (name: string) => void,
  ): Promise<R> {
    const folder = this.folder(name);
    const marker = join(folder, markerName);
    const pending = join(folder, pendingName);
    if (this.#resume) {
      const found = read(marker, markerSchema);
      if (found?.key === key && isWhole(found, folder)) {
        rmSync(pending, { force: true }); // of a process that was killed between the two
        resumed(name);
        return found.result as R;
      }
    }
    const unfinished = read(pending, pendingSchema)?.key === key;
    if (!(this.#resume && unfinished)) rmSync(folder, { recursive: true, force: true });
    rmSync(marker, { force: true });
    writeFileWhole(pending, JSON.stringify({ key }));
    const result = await work(folder);
    const made: Marker = { key, result, sha256: digest(JSON.stringify(result)), files: filesOf(folder) };
    writeFileWhole(marker, JSON.stringify(made, null, 2));
    rmSync(pending, { force: true });
    return result;
  }
}

const [markerName, pendingName] = ['stage.json', 'pending.json'];

/** A JSON file of a certain form; undefined where it is not there or is anything else. */
function read<S extends z.ZodType>(path: string, schema: S): z.output<S> | undefined {
  try {
    return schema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch {
    return undefined;
  }
}

function isWhole({ result, sha256, files }: Marker, folder: string): boolean {
  if (digest(JSON.stringify(result)) !== sha256) return false;
  return Object.entries(files).every(
    ([name, size]) => statSync(join(folder, name), { throwIfNoEntry: false })?.size === size,
  );
}

function filesOf(folder: string): Record<string, number> {
  const names = (readdirSync(folder, { recursive: true }) as string[]).filter(
    (name) => name !== markerName && name !== pendingName,
  );
  const stats = names.map((name) => [name, statSync(join(folder, name))] as const);
  return Object.fromEntries(stats.flatMap(([name, stat]) => (stat.isFile() ? [[name, stat.size]] : [])));
}
