import { describe, expect, it } from 'vitest';
import { crc32 } from './crc32.ts';
import { readZip, writeZip, type ZipSource } from './zip.ts';

const sample = (length: number, seed = 7): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 2654435761 + seed * i * i) >>> 11);

/** The checksum by its definition, a bit at a time. */
function bitwise(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const join = (pieces: Iterable<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat([...pieces]));

const open = (bytes: Uint8Array) => ({
  size: bytes.length,
  read: (offset: number, length: number) => bytes.slice(offset, offset + length),
});

const sources: ZipSource[] = ['m/data.pkl', 'm/data/0', 'm/data/12', `m/${'long'.repeat(20)}`, 'm/é'].map(
  (name, i) => ({ name, bytes: () => sample([0, 1, 63, 64, 1000][i]!, i) }),
);

describe('crc32', () => {
  it('is the remainder of long division, for every alignment and length around a block', () => {
    const bytes = sample(200);
    for (let start = 0; start < 5; start++) {
      for (let length = 0; length < 70; length++) {
        const part = bytes.subarray(start, start + length);
        expect(crc32(part)).toBe(bitwise(part));
      }
    }
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  });
});

describe('writeZip', () => {
  it('comes back through the reader, data on 64-byte boundaries', () => {
    const archive = join(writeZip(sources));
    const entries = readZip(open(archive));
    expect(entries.map((e) => e.name)).toEqual(sources.map((s) => s.name));
    entries.forEach((entry, i) => {
      expect(entry.offset() % 64).toBe(0);
      expect(entry.bytes()).toEqual(sources[i]!.bytes());
      expect(crc32(entry.bytes())).toBe(entry.crc);
    });
  });

  it('pads every possible gap', () => {
    for (let nameLength = 1; nameLength < 130; nameLength++) {
      const archive = join(writeZip([{ name: 'n'.repeat(nameLength), bytes: () => sample(3) }]));
      const [entry] = readZip(open(archive));
      expect(entry!.offset() % 64).toBe(0);
      expect(entry!.bytes()).toEqual(sample(3));
    }
  });

  it('gives the same bytes for the same entries and copies no data', () => {
    expect(join(writeZip(sources))).toEqual(join(writeZip(sources)));
    const data = sample(100);
    expect([...writeZip([{ name: 'a', bytes: () => data }])][1]).toBe(data);
  });
});

describe('readZip', () => {
  it('reads sizes and offsets from zip64 records', () => {
    const bytes = join(writeZip([{ name: 'a', bytes: () => sample(10) }]));
    const end = bytes.length - 22;
    const central = bytes.slice(new DataView(bytes.buffer).getUint32(end + 16, true), end);
    const extra = new DataView(new ArrayBuffer(28));
    extra.setUint16(0, 1, true);
    extra.setUint16(2, 24, true);
    extra.setBigUint64(4, 10n, true);
    extra.setBigUint64(12, 10n, true);
    extra.setBigUint64(20, 0n, true);
    const header = new DataView(central.buffer);
    header.setUint32(20, 0xffffffff, true);
    header.setUint32(24, 0xffffffff, true);
    header.setUint32(42, 0xffffffff, true);
    header.setUint16(30, 28, true);
    const start = end - central.length;
    const record = new DataView(new ArrayBuffer(56 + 20 + 22));
    record.setUint32(0, 0x06064b50, true);
    record.setBigUint64(32, 1n, true);
    record.setBigUint64(40, BigInt(central.length + 28), true);
    record.setBigUint64(48, BigInt(start), true);
    record.setUint32(56, 0x07064b50, true);
    record.setBigUint64(64, BigInt(end + 28), true);
    record.setUint32(76, 0x06054b50, true);
    record.setUint16(76 + 10, 0xffff, true);
    record.setUint32(76 + 12, 0xffffffff, true);
    record.setUint32(76 + 16, 0xffffffff, true);
    const parts = [
      bytes.slice(0, start),
      central,
      new Uint8Array(extra.buffer),
      new Uint8Array(record.buffer),
    ];
    const [entry] = readZip(open(join(parts)));
    expect(entry!.bytes()).toEqual(sample(10));
  });

  it('says what is wrong with an archive cut at any place', () => {
    const archive = join(writeZip(sources));
    for (let length = 0; length < archive.length; length += 13) {
      expect(() => readZip(open(archive.subarray(0, length)))).toThrow(/zip archive/);
    }
  });

  it('believes no offset or count', () => {
    const archive = join(writeZip(sources));
    const end = new DataView(archive.buffer, archive.length - 22);
    end.setUint16(10, 9, true);
    expect(() => readZip(open(archive))).toThrow(/entry 5 of 9 has no header/);
    end.setUint16(10, 5, true);
    end.setUint32(16, 0xfffffff0, true);
    expect(() => readZip(open(archive))).toThrow(/outside/);
  });
});
