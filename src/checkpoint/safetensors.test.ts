import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Tensor } from '../graph/tensor.ts';
import { openSafetensors, saveSafetensors } from './safetensors.node.ts';
import { type ByteSource, encodeSafetensors, readSafetensors } from './safetensors.ts';
import { toFloat32 } from './to-float32.ts';

const folder = mkdtempSync(join(tmpdir(), 'safetensors-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of a header, as text or as an object, and `length` bytes of data. */
function fileOf(header: unknown, length: number, stated?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + length);
  new DataView(bytes.buffer).setBigUint64(0, stated ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** A source that counts the bytes it was asked for. */
class Memory implements ByteSource {
  readonly path = 'model.safetensors';
  readonly #bytes: Uint8Array;
  taken = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get size() {
    return this.#bytes.length;
  }

  read(offset: number, length: number): Uint8Array {
    this.taken += length;
    return this.#bytes.slice(offset, offset + length);
  }
}

const read = (header: unknown, length: number, stated?: bigint) =>
  readSafetensors(new Memory(fileOf(header, length, stated)));

const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('safetensors', () => {
  const tensors = new Map([
    ['weight', Tensor.float32([2, 3], [1, 2, 3, 4, 5, 6])],
    ['scalar', Tensor.float32([], [7])],
    ['empty', Tensor.float32([0, 4], [])],
    ['index', Tensor.int64([1, -1])],
    ['flags', new Tensor('bool', [3], Uint8Array.of(1, 0, 1))],
  ]);

  it('gives back what was written, in the same order', () => {
    const path = join(folder, 'model.safetensors');
    saveSafetensors(path, tensors);
    const { tensors: found, metadata } = openSafetensors(path);
    expect(metadata).toEqual({ format: 'pt' });
    expect([...found.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [name, tensor] of tensors) {
      expect(found.get(name)!.dtype).toBe(tensor.dtype);
      expect(found.get(name)!.shape).toEqual(tensor.shape);
      expect(found.get(name)!.data).toEqual(tensor.data);
    }
    expect(readdirSync(folder)).toEqual(['model.safetensors']);
  });

  it('writes the same bytes each time, and the tensors themselves rather than copies', () => {
    const [first, second] = [1, 2].map(() => [...encodeSafetensors(tensors)]);
    expect(first).toEqual(second);
    expect(first!.some((piece) => piece.buffer === tensors.get('weight')!.floats.buffer)).toBe(true);
    expect((first![0]!.length + first![1]!.length) % 8).toBe(0);
  });

  it('reads a tensor when it is asked for', () => {
    const source = new Memory(fileOf({ a: entry('F32', [4], 0, 16), b: entry('F32', [2], 16, 24) }, 24));
    const { tensors: found } = readSafetensors(source);
    const headerBytes = source.taken;
    expect(headerBytes).toBe(source.size - 24);
    expect(found.get('b')!.floats.length).toBe(2);
    expect(source.taken).toBe(headerBytes + 8);
  });

  const malformed: [string, () => unknown, RegExp][] = [
    ['an empty file', () => readSafetensors(new Memory(new Uint8Array(3))), /truncated: 3 bytes/],
    ['a header larger than the file', () => read('{}', 0, 1n << 40n), /header is larger than the file/],
    [
      'a header of 2^64 - 1 bytes',
      () => read('{}', 0, 0xffffffffffffffffn),
      /header is larger than the file/,
    ],
    ['a header that is not JSON', () => read('{"a": ', 0), /header is not JSON/],
    [
      'a header that is not UTF-8',
      () => readSafetensors(new Memory(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff))),
      /not JSON/,
    ],
    ['a header that is a list', () => read([], 0), /not a JSON object/],
    ['metadata that are no strings', () => read({ __metadata__: { a: 1 } }, 0), /__metadata__/],
    [
      'a truncated file',
      () => read({ w: entry('F32', [4], 0, 16) }, 12),
      /tensor "w" lies outside the file.*truncated/,
    ],
    [
      'an unknown dtype',
      () => read({ w: entry('F13', [1], 0, 4) }, 4),
      /tensor "w" has an unknown dtype "F13"/,
    ],
    [
      'a dtype named like an object member',
      () => read({ w: entry('constructor', [1], 0, 4) }, 4),
      /unknown dtype/,
    ],
    [
      'a negative dimension',
      () => read({ w: entry('F32', [-1], 0, 4) }, 4),
      /tensor "w" has an impossible shape/,
    ],
    ['a fractional dimension', () => read({ w: entry('F32', [1.5], 0, 6) }, 6), /impossible shape/],
    [
      'a shape whose size overflows',
      () => read({ w: entry('F32', [2 ** 50, 2 ** 50], 0, 4) }, 4),
      /tensor "w"/,
    ],
    ['offsets that run backwards', () => read({ w: entry('F32', [1], 4, 0) }, 4), /impossible data_offsets/],
    [
      'offsets that are no numbers',
      () => read({ w: entry('F32', [1], '0', 4) }, 4),
      /impossible data_offsets/,
    ],
    ['an entry that is no object', () => read({ w: 3 }, 4), /tensor "w" is not described/],
    [
      'bytes that do not fit the shape',
      () => read({ w: entry('F32', [3], 0, 8) }, 8),
      /takes 12 bytes, but has 8/,
    ],
    [
      'overlapping tensors',
      () => read({ a: entry('F32', [2], 0, 8), b: entry('F32', [2], 4, 12) }, 12),
      /tensor "b" overlaps tensor "a"/,
    ],
  ];
  it.each(malformed)('refuses %s with one line that names the file', (_what, act, message) => {
    expect(act).toThrow(UserError);
    expect(act).toThrow(message);
    expect(act).toThrow(/^model\.safetensors: [^\n]*$/);
  });

  it('says which file is missing or is a folder', () => {
    expect(() => openSafetensors(join(folder, 'none.safetensors'))).toThrow(
      /none\.safetensors.*no such file/,
    );
    expect(() => openSafetensors(folder)).toThrow(/it is a folder/);
  });

  it('names a file that was cut short on disk', () => {
    const path = join(folder, 'cut.safetensors');
    writeFileSync(path, fileOf({ w: entry('F32', [4], 0, 16) }, 16).subarray(0, 70));
    expect(() => openSafetensors(path)).toThrow(/cut\.safetensors: .*truncated/);
  });
});

describe('toFloat32', () => {
  it('widens float16, with subnormals, infinities and not-a-number', () => {
    const bits = Uint16Array.of(
      0x3c00,
      0xc000,
      0x3555,
      0x0001,
      0x03ff,
      0x8000,
      0x7c00,
      0xfc00,
      0x7e00,
      0x7bff,
    );
    const { floats } = toFloat32('w', new Tensor('float16', [bits.length], bits));
    const expected = [1, -2, 0.333251953125, 2 ** -24, 1023 * 2 ** -24, -0, Infinity, -Infinity, NaN, 65504];
    expect([...floats]).toEqual(expected);
  });

  it('widens bfloat16 and narrows float64', () => {
    const bits = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x4049);
    expect([...toFloat32('w', new Tensor('bfloat16', [4], bits)).floats]).toEqual([
      1,
      -2,
      Infinity,
      3.140625,
    ]);
    expect([...toFloat32('w', new Tensor('float64', [1], Float64Array.of(0.1))).floats]).toEqual([
      Math.fround(0.1),
    ]);
  });

  it('refuses integers by name', () => {
    expect(() => toFloat32('steps', Tensor.int64([1]))).toThrow(/tensor "steps" is int64/);
  });
});
