import { basename, relative, resolve, sep } from 'node:path';
import { UserError } from '../common/errors.ts';
import { ByteCache } from './byte-cache.ts';
import type { DataOptions } from './data-options.ts';
import type { Dataset, Split } from './dataset.ts';
import { decodeImage } from './decode.node.ts';
import { fileVersions } from './file-versions.node.ts';
import { heldOutNote, holdOut } from './hold-out.ts';
import { imagePool } from './image-pool.node.ts';
import { ParquetFile } from './parquet-file.node.ts';
import { splitFiles } from './split-files.node.ts';

/** Encoded images kept in memory. */
const cacheBytes = 256 * 2 ** 20;

/** One image: a row of a file. */
interface Row {
  readonly file: ParquetFile;
  readonly row: number;
  readonly label: number;
}

/**
 * Opens a data set in the Hub's layout: parquet files whose names, or whose folders', begin with the split
 * they belong to (`plain_text/train-00000-of-00001.parquet`, `train/0000.parquet`), with a column of
 * images (structs with the encoded image as `bytes`) and one of labels, numbers that the `huggingface`
 * metadata names, or words. Split names are those of an image folder, in any case; without a validation
 * split a fifth of each class is held out; without any split name all files are to train on.
 *
 * Footers and labels are read at once. Images are read a row group at a time when one of it is asked
 * for; the groups used last stay in memory, up to 256 MiB (at least one), encoded as they are stored.
 * @param paths the parquet files in `folder`
 * @throws UserError on a file that can't be read, several configurations side by side, columns that are
 *   not there, a row without a label, files that disagree about the classes
 */
export async function openParquet(
  folder: string,
  paths: readonly string[],
  options: DataOptions = {},
): Promise<Dataset> {
  const parts = splitFiles(folder, paths);
  const open = (part: readonly string[]) => Promise.all(part.map((path) => ParquetFile.open(path)));
  const [trainFiles, valFiles] = [await open(parts.train), await open(parts.val)];
  const files = [...trainFiles, ...valFiles];
  const labels = new Map(await Promise.all(files.map(async (file) => [file, await labelsOf(file)] as const)));
  const classes = classNames(files, labels);
  const rowsOf = (part: readonly ParquetFile[]) =>
    part.flatMap((file) => labelled(file, labels.get(file)!, classes));
  let [train, val] = [rowsOf(trainFiles), rowsOf(valFiles)];
  if (train.length + val.length === 0) throw new UserError(`the parquet files in ${folder} have no rows`);
  const idOf = ({ file, row }: Row) => `${relative(folder, file.path).split(sep).join('/')}:${row}`;
  const notes: string[] = [];
  if (valFiles.length === 0) {
    const all = train.length;
    ({ train, val } = holdOut(train, idOf));
    notes.push(heldOutNote(folder, val.length, all));
  }
  const cache = new ByteCache<(Uint8Array | undefined)[]>(cacheBytes);
  const split = (name: string, rows: readonly Row[]): Split => ({
    name: `${folder} (${name})`,
    length: rows.length,
    label: (index) => rows[index]!.label,
    id: (index) => idOf(rows[index]!),
    read: async (index, viewer) => decodeImage(await imageBytes(cache, rows[index]!), options, viewer),
    source: (index) => imageBytes(cache, rows[index]!),
    pool: (threads, preparation) =>
      imagePool(threads, preparation, options, (index) => imageBytes(cache, rows[index]!)),
  });
  return {
    name: basename(resolve(folder)),
    classes,
    train: split('train', train),
    val: split('val', val),
    isTest: parts.isTest,
    notes,
    version: () => fileVersions(paths),
  };
}

async function imageBytes(cache: ByteCache<(Uint8Array | undefined)[]>, { file, row }: Row) {
  const group = file.starts.findLastIndex((start) => start <= row);
  const images = await cache.get(`${group} ${file.path}`, async () => {
    const value = await file.images(group);
    return { value, bytes: value.reduce((sum, image) => sum + (image?.length ?? 0), 0) };
  });
  const bytes = images[row - file.starts[group]!];
  if (!bytes) throw new Error('the row holds no image');
  return bytes;
}

type Label = number | string;

async function labelsOf(file: ParquetFile): Promise<Label[]> {
  return Array.from(await file.labels(), (value, row): Label => {
    if (typeof value === 'string') return value;
    if ((typeof value === 'number' || typeof value === 'bigint') && value >= 0) return Number(value);
    throw new UserError(
      `${file.path}: row ${row} has no label (${value} in column ${file.columns.label}); leave such a file out`,
    );
  });
}

/** The names that the files declare; else the words in them, sorted; else the numbers up to the largest. */
function classNames(
  files: readonly ParquetFile[],
  labels: ReadonlyMap<ParquetFile, readonly Label[]>,
): readonly string[] {
  const [first, ...rest] = files;
  const other = rest.find((file) => `${file.columns.names}` !== `${first!.columns.names}`);
  if (other) throw new UserError(`${first!.path} and ${other.path} do not name the same classes`);
  if (first!.columns.names) return first!.columns.names;
  const values = [...new Set([...labels.values()].flat())];
  const words = values.filter((value) => typeof value === 'string');
  if (words.length > 0) return words.toSorted();
  const largest = values.reduce<number>((most, value) => Math.max(most, Number(value)), -1);
  return Array.from({ length: largest + 1 }, (_, label) => String(label));
}

function labelled(file: ParquetFile, labels: readonly Label[], classes: readonly string[]): Row[] {
  const positions = new Map(classes.map((name, position) => [name, position]));
  return labels.map((value, row) => {
    const label = typeof value === 'string' ? positions.get(value) : value;
    if (label === undefined || label >= classes.length) {
      throw new UserError(
        `${file.path}: row ${row} has label ${value}, none of the ${classes.length} classes`,
      );
    }
    return { file, row, label };
  });
}
