import { UserError } from '../common/errors.ts';
import { quoted } from '../common/quoted.ts';
import { type NumericType, storedBytes, Tensor, viewBytes } from '../graph/tensor.ts';

/** Bytes that can be read at any place: a file, a buffer, a download. */
export interface ByteSource {
  /** The name errors call it by. */
  readonly path: string;
  readonly size: number;
  /** @throws UserError when the source is shorter than that */
  read(offset: number, length: number): Uint8Array;
}

/** Bytes that are in memory. @param path the name errors call them by */
export const inMemory = (bytes: Uint8Array, path: string): ByteSource => ({
  path,
  size: bytes.length,
  read(offset, length) {
    if (offset + length > bytes.length)
      throw new UserError(`${path} is truncated: it has ${bytes.length} bytes`);
    return bytes.subarray(offset, offset + length);
  },
});

/** What a `.safetensors` file holds. */
export interface Checkpoint {
  /** By name, in the order of their data. */
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Record<string, string>;
}

/** safetensors' element types -> ours. */
const dtypes: Record<string, NumericType> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U64: 'uint64',
  U32: 'uint32',
  U16: 'uint16',
  U8: 'uint8',
  BOOL: 'bool',
  F8_E4M3: 'float8e4m3fn',
  F8_E5M2: 'float8e5m2',
};
const dtypeNames = new Map(Object.entries(dtypes).map(([name, dtype]) => [dtype, name]));

/** The longest header that safetensors itself reads. */
const headerLimit = 100_000_000;
/** The 8 bytes before the header hold its length. */
const prefixLength = 8;

interface Entry {
  name: string;
  dtype: NumericType;
  shape: number[];
  begin: number;
  end: number;
}

/**
 * Reads the header of a safetensors file; a tensor's data are read when they are asked for. All sizes
 * are checked before memory is taken.
 * Format: https://huggingface.co/docs/safetensors (header length, JSON header, data).
 * @throws UserError naming file and tensor when the file contradicts itself or is cut short
 */
export function readSafetensors(source: ByteSource): Checkpoint {
  const fail = (what: string): never => {
    throw new UserError(`${source.path}: ${what}`, source.path);
  };
  if (source.size < prefixLength) fail(`truncated: ${source.size} bytes are too few for a safetensors file`);
  const prefix = source.read(0, prefixLength);
  const stated = new DataView(prefix.buffer, prefix.byteOffset, prefixLength).getBigUint64(0, true);
  if (stated > BigInt(source.size - prefixLength)) {
    fail(
      `the header is larger than the file (${stated} bytes stated, ${source.size} in the file): truncated, or no safetensors file`,
    );
  }
  if (stated > BigInt(headerLimit)) fail(`a header of ${stated} bytes is longer than any: damaged`);
  const dataStart = prefixLength + Number(stated);
  const header = parseHeader(source.read(prefixLength, Number(stated)), fail);
  const { __metadata__: metadata = {}, ...rest } = header;
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    fail('__metadata__ in the header is not a table of strings');
  }
  const entries = Object.entries(rest).map(([name, entry]) => checkedEntry(name, entry, fail));
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkLayout(entries, source.size - dataStart, fail);
  const tensors = new Map<string, Tensor>();
  for (const { name, dtype, shape, begin, end } of entries) {
    tensors.set(
      name,
      new Tensor(dtype, shape, () => viewBytes(dtype, source.read(dataStart + begin, end - begin))),
    );
  }
  return { tensors, metadata: metadata as Record<string, string> };
}

type Fail = (what: string) => never;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return fail('the header is not JSON: damaged, or no safetensors file');
  }
  return isRecord(header) ? header : fail('the header is not a JSON object');
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function checkedEntry(name: string, entry: unknown, fail: Fail): Entry {
  const where = `tensor ${quoted(name)}`;
  if (!isRecord(entry)) return fail(`${where} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  const known = typeof dtype === 'string' && Object.hasOwn(dtypes, dtype) ? dtypes[dtype] : undefined;
  if (!known) return fail(`${where} has an unknown dtype ${quoted(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`${where} has an impossible shape ${quoted(shape)}`);
  }
  const [begin, end, ...more] = (Array.isArray(offsets) ? offsets : []) as unknown[];
  if (!isSize(begin) || !isSize(end) || more.length || begin > end) {
    return fail(`${where} has impossible data_offsets ${quoted(offsets)}`);
  }
  const expected = storedBytes(known, shape);
  if (end - begin !== expected) {
    return fail(
      `${where} is ${dtype}${quoted(shape)}, which takes ${expected} bytes, but has ${end - begin} in the file`,
    );
  }
  return { name, dtype: known, shape, begin, end };
}

/** Tensors must lie inside the file and not share bytes. `entries` are in the order of their data. */
function checkLayout(entries: readonly Entry[], dataLength: number, fail: Fail): void {
  let reached = 0;
  let last = '';
  for (const { name, begin, end } of entries) {
    if (end > dataLength) {
      fail(
        `tensor ${quoted(name)} lies outside the file (bytes ${begin} to ${end} of ${dataLength}): the file is truncated`,
      );
    }
    if (begin < reached && end > begin) fail(`tensor ${quoted(name)} overlaps tensor ${quoted(last)}`);
    if (end > begin) {
      reached = end;
      last = name;
    }
  }
}

/**
 * A safetensors file as pieces, to be written one after the other. A tensor's data are taken when its
 * piece is asked for, without a copy. The same tensors in the same order give the same bytes.
 * @throws UserError on an element type the format has no name for
 */
export function* encodeSafetensors(
  tensors: Iterable<readonly [string, Tensor]>,
  metadata: Record<string, string> = { format: 'pt' },
): Generator<Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const data: Tensor[] = [];
  let offset = 0;
  for (const [name, tensor] of tensors) {
    const dtype = tensor.dtype === 'string' ? undefined : dtypeNames.get(tensor.dtype);
    if (!dtype) throw new UserError(`tensor "${name}": safetensors has no ${tensor.dtype}`);
    if (Object.hasOwn(header, name)) throw new UserError(`two tensors are named "${name}"`);
    const end = offset + storedBytes(tensor.dtype, tensor.shape);
    header[name] = { dtype, shape: tensor.shape, data_offsets: [offset, end] };
    data.push(tensor);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  /** Spaces after the header put the data on 8 bytes, as readers that map the file want. */
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  const prefix = new Uint8Array(prefixLength);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(padded.length), true);
  yield prefix;
  yield padded;
  for (const tensor of data) if (tensor.size > 0) yield tensor.bytes;
}
