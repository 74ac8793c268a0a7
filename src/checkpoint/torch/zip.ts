import { UserError } from '../../common/errors.ts';
import { crc32 } from './crc32.ts';

/** A file that goes into an archive. Its bytes are asked for once, when its turn comes. */
export interface ZipSource {
  /** Path inside the archive, `/` between its parts. */
  name: string;
  bytes: () => Uint8Array;
}

const localSignature = 0x04034b50;
const centralSignature = 0x02014b50;
const endSignature = 0x06054b50;
const endSignature64 = 0x06064b50;
const locatorSignature64 = 0x07064b50;

/** 1 January 1980, midnight: the archive depends on nothing but its content. */
const dosDate = 0x0021;
/** PyTorch maps tensors from archives and wants their data on this boundary. */
const alignment = 64;
const limit = 0xffffffff;

/**
 * A zip archive of stored (uncompressed) entries whose data start at multiples of 64 bytes, as
 * PyTorch writes its own: padding stands in an extra field `FB` of the local header. The same
 * entries give the same bytes. Entries are read, summed and yielded one after the other, uncopied.
 * @throws UserError when the archive would pass 4 GiB
 */
export function* writeZip(entries: readonly ZipSource[]): Generator<Uint8Array> {
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = new TextEncoder().encode(entry.name);
    const bytes = entry.bytes();
    const crc = crc32(bytes);
    const local = localHeader(offset, name, bytes.length, crc);
    if (offset + local.length + bytes.length > limit) {
      throw new UserError(`the archive passes 4 GiB at ${entry.name}; the formats written here end there`);
    }
    directory.push(centralHeader(offset, name, bytes.length, crc));
    yield local;
    yield bytes;
    offset += local.length + bytes.length;
  }
  const size = directory.reduce((sum, header) => sum + header.length, 0);
  yield* directory;
  yield new Record(22)
    .u32(endSignature)
    .u32(0)
    .u16(entries.length)
    .u16(entries.length)
    .u32(size)
    .u32(offset)
    .u16(0).bytes;
}

function localHeader(offset: number, name: Uint8Array, size: number, crc: number): Uint8Array {
  const unpadded = offset + 30 + name.length;
  let extra = (alignment - (unpadded % alignment)) % alignment;
  if (extra > 0 && extra < 4) extra += alignment;
  const record = new Record(30 + name.length + extra).u32(localSignature).u16(0);
  shared(record, size, crc).u16(name.length).u16(extra).raw(name);
  if (extra)
    record
      .raw([0x46, 0x42])
      .u16(extra - 4)
      .raw(new Uint8Array(extra - 4).fill(0x5a));
  return record.bytes;
}

function centralHeader(offset: number, name: Uint8Array, size: number, crc: number): Uint8Array {
  const record = new Record(46 + name.length).u32(centralSignature).u16(0).u16(0);
  shared(record, size, crc).u16(name.length).u16(0).u16(0).u16(0).u16(0).u32(0).u32(offset).raw(name);
  return record.bytes;
}

/** Flags, method, time, date, CRC and both sizes: the same in local and central headers. */
const shared = (record: Record, size: number, crc: number): Record =>
  record.u16(0).u16(0).u16(0).u16(dosDate).u32(crc).u32(size).u32(size);

/** A fixed-size little-endian record being filled. */
class Record {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(value: number): this {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
    return this;
  }

  raw(bytes: ArrayLike<number>): this {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }
}

/** Random access to the bytes of an archive. */
export interface ZipInput {
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
}

/** An entry of an archive that was opened. */
export interface ZipEntry {
  readonly name: string;
  readonly size: number;
  readonly crc: number;
  /** Whether the data lie in the archive as they are. */
  readonly stored: boolean;
  /** Where the data start in the archive. @throws UserError when they lie outside it */
  offset(): number;
  /** The data. @throws UserError when the entry is compressed or lies outside the archive */
  bytes(): Uint8Array;
}

/**
 * The entries of a zip archive, zip64 included, read from its central directory; data are read when
 * asked for. Nothing is believed: every offset and length is checked against the archive's size.
 * @throws UserError when this is no zip archive or it is damaged
 */
export function readZip(input: ZipInput): ZipEntry[] {
  const take = (offset: number, length: number, what: string): DataView => {
    if (!(offset >= 0 && length >= 0 && offset + length <= input.size)) {
      throw new UserError(`damaged zip archive: ${what} lies outside its ${input.size} bytes`);
    }
    const bytes = input.read(offset, length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  const end = findEnd(input, take);
  const directory = take(end.offset, end.size, 'the directory');
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let i = 0; i < end.count; i++) {
    if (at + 46 > directory.byteLength || directory.getUint32(at, true) !== centralSignature) {
      throw new UserError(`damaged zip archive: entry ${i} of ${end.count} has no header`);
    }
    const nameLength = directory.getUint16(at + 28, true);
    const extraLength = directory.getUint16(at + 30, true);
    const next = at + 46 + nameLength + extraLength + directory.getUint16(at + 32, true);
    if (next > directory.byteLength) throw new UserError(`damaged zip archive: entry ${i} is cut off`);
    const name = new TextDecoder().decode(
      new Uint8Array(directory.buffer, directory.byteOffset + at + 46, nameLength),
    );
    const method = directory.getUint16(at + 10, true);
    const crc = directory.getUint32(at + 16, true);
    const [size, stored, local] = wide(directory, at, nameLength, extraLength, name);
    const isStored = method === 0 && stored === size;
    const offset = () => {
      const header = take(local, 30, `the header of ${name}`);
      if (header.getUint32(0, true) !== localSignature) {
        throw new UserError(`damaged zip archive: ${name} has no local header`);
      }
      const start = local + 30 + header.getUint16(26, true) + header.getUint16(28, true);
      if (start + stored > input.size) {
        throw new UserError(`damaged zip archive: ${name} lies outside its ${input.size} bytes`);
      }
      return start;
    };
    const bytes = () => {
      if (!isStored) {
        throw new UserError(`${name} is compressed (method ${method}); only stored entries are read`);
      }
      const view = take(offset(), size, name);
      return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
    };
    entries.push({ name, size, crc, stored: isStored, offset, bytes });
    at = next;
  }
  return entries;
}

type Take = (offset: number, length: number, what: string) => DataView;

function findEnd(input: ZipInput, take: Take): { count: number; size: number; offset: number } {
  const length = Math.min(input.size, 22 + 0xffff);
  const start = input.size - length;
  const tail = take(start, length, 'its end');
  let at = length - 22;
  while (at >= 0 && tail.getUint32(at, true) !== endSignature) at--;
  if (at < 0) throw new UserError('not a zip archive, or a truncated one: it has no end record');
  const end = {
    count: tail.getUint16(at + 10, true),
    size: tail.getUint32(at + 12, true),
    offset: tail.getUint32(at + 16, true),
  };
  if (end.count !== 0xffff && end.size !== limit && end.offset !== limit) return end;
  const locator = take(start + at - 20, 20, 'the zip64 locator');
  if (locator.getUint32(0, true) !== locatorSignature64) return end;
  const record = take(safe(locator.getBigUint64(8, true)), 56, 'the zip64 end record');
  if (record.getUint32(0, true) !== endSignature64) {
    throw new UserError('damaged zip archive: its zip64 end record is missing');
  }
  return {
    count: safe(record.getBigUint64(32, true)),
    size: safe(record.getBigUint64(40, true)),
    offset: safe(record.getBigUint64(48, true)),
  };
}

/** Size, stored size and offset of the entry at `at`, from its zip64 field where the 32-bit ones are full. */
function wide(
  directory: DataView,
  at: number,
  nameLength: number,
  extraLength: number,
  name: string,
): [size: number, stored: number, offset: number] {
  const narrow = [24, 20, 42].map((field) => directory.getUint32(at + field, true));
  if (!narrow.includes(limit)) return narrow as [number, number, number];
  let extra = at + 46 + nameLength;
  const end = extra + extraLength;
  while (extra + 4 <= end) {
    const length = directory.getUint16(extra + 2, true);
    if (directory.getUint16(extra, true) === 1) {
      let field = extra + 4;
      return narrow.map((value) => {
        if (value !== limit) return value;
        if (field + 8 > Math.min(end, extra + 4 + length)) {
          throw new UserError(`damaged zip archive: the zip64 field of ${name} is cut off`);
        }
        field += 8;
        return safe(directory.getBigUint64(field - 8, true));
      }) as [number, number, number];
    }
    extra += 4 + length;
  }
  return narrow as [number, number, number];
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new UserError(`damaged zip archive: it speaks of offset ${value}`);
  }
  return Number(value);
}
