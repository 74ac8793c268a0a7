import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { UserError } from '../common/errors.ts';
import { fileError } from '../common/files.node.ts';

/** A feature of a Hub data set, as the `huggingface` entry of a file's metadata has it. */
interface Feature {
  readonly _type?: string;
  readonly names?: readonly string[];
}

type Column = ReturnType<typeof parquetSchema>;

/** Where the images and labels are in a file. */
export interface ImageColumns {
  /** A struct with the encoded image under `bytes`. */
  readonly image: string;
  readonly label: string;
  /** What the labels 0, 1, ... are called, where the file says so. */
  readonly names?: readonly string[];
}

/** A parquet file of labelled images: its footer is in memory, the rest is read when asked for. */
export class ParquetFile {
  readonly path: string;
  readonly columns: ImageColumns;
  /** Row at which each row group begins, and the number of rows. */
  readonly starts: readonly number[];
  readonly #source: AsyncBuffer;
  readonly #metadata: FileMetaData;

  private constructor(path: string, source: AsyncBuffer, metadata: FileMetaData) {
    this.path = path;
    this.#source = source;
    this.#metadata = metadata;
    this.columns = imageColumns(path, parquetSchema(metadata).children, featuresOf(path, metadata));
    const starts = [0];
    for (const group of metadata.row_groups) starts.push(starts.at(-1)! + Number(group.num_rows));
    this.starts = starts;
  }

  /** @throws UserError when it can't be read, is no parquet file, or has no images or labels */
  static async open(path: string): Promise<ParquetFile> {
    const source = await asyncBufferFromFile(path).catch((error) => {
      throw fileError(error, `can't read ${path}`);
    });
    const metadata = await reading(path, () => parquetMetadataAsync(source));
    return new ParquetFile(path, source, metadata);
  }

  get rows(): number {
    return this.starts.at(-1)!;
  }

  /** The label of every row: a number or a word; null where there is none. */
  labels(): Promise<unknown[]> {
    return this.#column(this.columns.label, 0, this.rows, true);
  }

  /** The encoded images of one row group; undefined for a row without one. They share memory. */
  async images(group: number): Promise<(Uint8Array | undefined)[]> {
    const [start, end] = [this.starts[group]!, this.starts[group + 1]!];
    const cells = await this.#column(this.columns.image, start, end, false);
    return cells.map((cell) => {
      const bytes = (cell as { bytes?: unknown } | null)?.bytes;
      return bytes instanceof Uint8Array ? bytes : undefined;
    });
  }

  /** @param utf8 whether byte arrays that no type says are text are text */
  async #column(name: string, rowStart: number, rowEnd: number, utf8: boolean): Promise<unknown[]> {
    const request = { file: this.#source, metadata: this.#metadata, columns: [name], compressors };
    const rows = await reading(this.path, () => parquetReadObjects({ ...request, rowStart, rowEnd, utf8 }));
    return rows.map((row) => row[name]);
  }
}

/** Runs a read; what the parser finds wrong with the file becomes the user's error. */
async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const known = fileError(error, `can't read ${path}`);
    if (known instanceof UserError) throw known;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError(`${path} is damaged or no parquet file (${reason}); fetch it again`);
  }
}

function featuresOf(path: string, metadata: FileMetaData): Record<string, Feature> {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  if (text === undefined) return {};
  try {
    const { info } = JSON.parse(text) as { info?: { features?: Record<string, Feature> } };
    return info?.features ?? {};
  } catch {
    throw new UserError(`${path}: its "huggingface" metadata is no JSON; write the file again`);
  }
}

/**
 * Finds the columns: by the types that the data set declares, else by their form (images are structs with
 * `bytes`) and, for labels, by name.
 */
function imageColumns(
  path: string,
  columns: readonly Column[],
  features: Record<string, Feature>,
): ImageColumns {
  const declared = (type: string) => columns.map(nameOf).filter((name) => features[name]?._type === type);
  const structs = columns.filter(({ children }) => children.some((child) => nameOf(child) === 'bytes'));
  const images = declared('Image').filter((name) => structs.map(nameOf).includes(name));
  const labels = declared('ClassLabel');
  const image = choose(images.length > 0 ? images : structs.map(nameOf), ['image', 'img']);
  const label = choose(
    labels.length > 0 ? labels : columns.map(nameOf).filter((name) => labelNames.includes(name)),
    labelNames,
  );
  const list = columns.map(nameOf).join(', ');
  if (!image) {
    throw new UserError(
      `${path} has no one column of images (a struct with the encoded image as "bytes"); its columns are ${list}`,
    );
  }
  if (!label) {
    throw new UserError(
      `${path} has no one column of labels (a ClassLabel, or one called ${labelNames.join(' or ')}); its columns are ${list}`,
    );
  }
  const names = features[label]?.names;
  return { image, label, names };
}

const labelNames = ['label', 'labels'];

const nameOf = ({ element }: Column): string => element.name;

/** The only candidate, or of several the one with the most usual name. */
function choose(candidates: readonly string[], usual: readonly string[]): string | undefined {
  return candidates.length === 1 ? candidates[0] : usual.find((name) => candidates.includes(name));
}
