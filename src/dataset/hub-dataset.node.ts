import { join, posix } from 'node:path';
import { type HubOptions, type HubRepository, HubSnapshot } from '../checkpoint/hub/hub.node.ts';
import { UserError } from '../common/errors.ts';
import { splitFiles } from './split-files.node.ts';
import { classFiles } from './webdataset.node.ts';

/** The branch that the Hub writes every data set to as parquet, whatever its files are. */
const converted = 'refs/convert/parquet';

/** `owner/name`, perhaps a folder in it, and perhaps `@revision`. */
const idForm =
  /^(?:hf-hub:|hf:\/\/datasets\/)?(?<id>[\w-][\w.-]*\/[\w-][\w.-]*)(?<folder>(?:\/[\w-][\w.-]*)*)(?:@(?<revision>\w[\w./-]*))?$/;

/** A data set on the Hub, and the folder of it that is wanted. */
export interface HubDataset extends HubRepository {
  readonly folder: string;
}

/** The data set that a reference may name: `owner/name`, `owner/name/FOLDER`, `@REVISION` behind it. */
export function hubDataset(reference: string): HubDataset | undefined {
  const groups = idForm.exec(reference)?.groups;
  if (!groups || reference.includes('..')) return undefined;
  return { kind: 'dataset', id: groups.id!, folder: groups.folder!.slice(1), revision: groups.revision };
}

/**
 * Sees to it that the files of a data set are in the cache: its parquet files or tar archives; of a data set that
 * has neither, the parquet files that the Hub makes of it.
 * @param extensions of the files that can be read, best first
 * @returns the folder that they are in
 * @throws UserError when it can't be had, has no such files, or holds several data sets
 */
export async function hubDatasetFolder(
  wanted: HubDataset,
  extensions: readonly string[],
  options: HubOptions = {},
): Promise<string> {
  const revisions = wanted.revision ? [wanted.revision] : ['main', converted];
  for (const revision of revisions) {
    const snapshot = new HubSnapshot({ ...wanted, revision }, options);
    const names = (await snapshot.files()).filter(
      (name) => !wanted.folder || name.startsWith(`${wanted.folder}/`),
    );
    const extension = extensions.find((end) => names.some((name) => name.toLowerCase().endsWith(end)));
    if (!extension) continue;
    const files = names.filter((name) => name.toLowerCase().endsWith(extension));
    const { train, val } = filesOfSplits(wanted, files);
    const classes = names.filter((name) => classFiles.includes(posix.basename(name)));
    for (const name of [...train, ...val, ...classes]) await snapshot.fetch(name);
    if (revision === converted) {
      options.progress?.note(`${wanted.id} is read as the parquet files that the Hub made of it`);
    }
    return join(snapshot.folder, wanted.folder);
  }
  throw new UserError(`${wanted.id} has no ${extensions.join(' or ')} files, which is what is read`);
}

/** What of a data set is read, before anything is downloaded: splits that are not are left where they are. */
function filesOfSplits({ id, folder }: HubDataset, files: readonly string[]) {
  const paths = files.map((name) => join(id, name));
  const { train, val } = splitFiles(join(id, folder), paths);
  const names = (part: readonly string[]) => part.map((path) => files[paths.indexOf(path)]!);
  return { train: names(train), val: names(val) };
}
