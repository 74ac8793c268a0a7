import { UserError } from '../common/errors.ts';

/**
 * The bytes of a flatbuffer that anyone may have written: nothing outside of them is read, and no more items than a file
 * of this size has room for, however often its parts point at one another.
 */
export class FlatFile {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  #left: number;

  /**
   * @param where the file, in errors
   * @param identifier the four letters behind the first offset
   * @param kind what such a file is, in errors
   * @throws UserError when the letters are others
   */
  constructor(
    bytes: Uint8Array,
    { where, identifier, kind }: { where: string; identifier: string; kind: string },
  ) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
    this.#left = 4 * bytes.length;
    const found = String.fromCharCode(...bytes.subarray(4, 8));
    if (found !== identifier)
      throw new UserError(`${where} is no ${kind}: "${identifier}" is not at its start`);
  }

  /** @throws UserError when the file ends before it */
  get root(): FlatTable {
    return new FlatTable(this, this.uint32(0));
  }

  damaged(what: string): UserError {
    return new UserError(`${this.#where} is damaged: ${what}`);
  }

  #in(at: number, length: number): number {
    if (!(at >= 0 && at + length <= this.bytes.length))
      throw new UserError(
        `${this.#where} is truncated or damaged: it points past its ${this.bytes.length} bytes`,
      );
    return at;
  }

  uint8 = (at: number): number => this.#view.getUint8(this.#in(at, 1));
  uint16 = (at: number): number => this.#view.getUint16(this.#in(at, 2), true);
  int32 = (at: number): number => this.#view.getInt32(this.#in(at, 4), true);
  uint32 = (at: number): number => this.#view.getUint32(this.#in(at, 4), true);
  float32 = (at: number): number => this.#view.getFloat32(this.#in(at, 4), true);
  /** Rounded above 2^53. */
  int64 = (at: number): number => Number(this.#view.getBigInt64(this.#in(at, 8), true));

  /** The place of a vector's items and their number. */
  vector(at: number, width: number): { start: number; length: number } {
    const start = at + this.uint32(at) + 4;
    const length = this.uint32(start - 4);
    this.#in(start, length * width);
    return { start, length };
  }

  /** Says that so many items are read. @throws UserError when that is more than there can be */
  spend(items: number): void {
    this.#left -= items;
    if (this.#left < 0) throw this.damaged('its parts are used again and again');
  }
}

/** A table of a flatbuffer; fields are told by their place in its schema, and absent ones are 0 or empty. */
export class FlatTable {
  readonly #file: FlatFile;
  readonly #at: number;
  readonly #offsets: number;
  readonly #fields: number;

  constructor(file: FlatFile, at: number) {
    this.#file = file;
    this.#at = at;
    this.#offsets = at - file.int32(at);
    this.#fields = file.uint16(this.#offsets);
  }

  #field(place: number): number | undefined {
    const slot = 4 + 2 * place;
    const offset = slot + 2 <= this.#fields ? this.#file.uint16(this.#offsets + slot) : 0;
    return offset ? this.#at + offset : undefined;
  }

  #number(place: number, read: (at: number) => number): number {
    const at = this.#field(place);
    return at === undefined ? 0 : read(at);
  }

  has = (place: number): boolean => this.#field(place) !== undefined;
  int = (place: number): number => this.#number(place, this.#file.int32);
  byte = (place: number): number => this.#number(place, this.#file.uint8);
  long = (place: number): number => this.#number(place, this.#file.int64);

  table(place: number): FlatTable | undefined {
    const at = this.#field(place);
    return at === undefined ? undefined : new FlatTable(this.#file, at + this.#file.uint32(at));
  }

  /** The bytes of a vector or text, uncopied. */
  bytes(place: number): Uint8Array {
    const at = this.#field(place);
    if (at === undefined) return new Uint8Array();
    const { start, length } = this.#file.vector(at, 1);
    return this.#file.bytes.subarray(start, start + length);
  }

  text(place: number): string {
    const bytes = this.bytes(place);
    this.#file.spend(bytes.length);
    return new TextDecoder().decode(bytes);
  }

  /** How many items a vector has. @param width bytes of one */
  length(place: number, width: number): number {
    const at = this.#field(place);
    return at === undefined ? 0 : this.#file.vector(at, width).length;
  }

  ints = (place: number): number[] => this.#items(place, 4, this.#file.int32);
  floats = (place: number): number[] => this.#items(place, 4, this.#file.float32);
  longs = (place: number): number[] => this.#items(place, 8, this.#file.int64);
  texts = (place: number): string[] =>
    this.#items(place, 4, (at) => {
      const { start, length } = this.#file.vector(at, 1);
      this.#file.spend(length);
      return new TextDecoder().decode(this.#file.bytes.subarray(start, start + length));
    });

  tables = (place: number): FlatTable[] =>
    this.#items(place, 4, (at) => new FlatTable(this.#file, at + this.#file.uint32(at)));

  #items<T>(place: number, width: number, read: (at: number) => T): T[] {
    const at = this.#field(place);
    if (at === undefined) return [];
    const { start, length } = this.#file.vector(at, width);
    this.#file.spend(length * width);
    return Array.from({ length }, (_, i) => read(start + width * i));
  }
}
