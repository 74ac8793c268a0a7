import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** What TensorBoard shows of a moment. */
export interface Scalars {
  /** Seconds since 1970. */
  readonly time: number;
  readonly step: number;
  /** By tag, such as `train/loss`. */
  readonly values: Readonly<Record<string, number>>;
}

/**
 * Numbers of TensorFlow's `Event`, `Summary` and `SessionLog` messages (tensorflow/core/util/event.proto and
 * framework/summary.proto).
 */
const event = { time: 1, step: 2, version: 3, summary: 5, session: 7 };
const summary = { value: 1, tag: 1, simpleValue: 2 };
const session = { status: 1, start: 1 };

/** The first record of a file. @param time seconds since 1970 */
export const versionRecord = (time: number): Uint8Array =>
  framed(begun(time).tag(event.version, WireType.LengthDelimited).string('brain.Event:2').finish());

/** Says that what earlier files have from this step on is done again. */
export function restartRecord(time: number, step: number): Uint8Array {
  const log = new BinaryWriter().tag(session.status, WireType.Varint).int32(session.start).finish();
  return framed(stepped(begun(time), step).tag(event.session, WireType.LengthDelimited).bytes(log).finish());
}

/** Figures of a step, a point of a curve each. */
export function scalarsRecord({ time, step, values }: Scalars): Uint8Array {
  const all = new BinaryWriter();
  for (const [tag, value] of Object.entries(values)) {
    const entry = new BinaryWriter()
      .tag(summary.tag, WireType.LengthDelimited)
      .string(tag)
      .tag(summary.simpleValue, WireType.Bit32)
      .float(value);
    all.tag(summary.value, WireType.LengthDelimited).bytes(entry.finish());
  }
  const made = stepped(begun(time), step).tag(event.summary, WireType.LengthDelimited).bytes(all.finish());
  return framed(made.finish());
}

const begun = (time: number) => new BinaryWriter().tag(event.time, WireType.Bit64).double(time);
const stepped = (writer: BinaryWriter, step: number) => writer.tag(event.step, WireType.Varint).int64(step);

/** A record as TFRecord frames it: its length, that one's checksum, the bytes, their checksum. */
function framed(bytes: Uint8Array): Uint8Array {
  const record = new Uint8Array(bytes.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(bytes.length), true);
  view.setUint32(8, masked(record.subarray(0, 8)), true);
  record.set(bytes, 12);
  view.setUint32(12 + bytes.length, masked(bytes), true);
  return record;
}

function masked(bytes: Uint8Array): number {
  const sum = crc32c(bytes);
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

const table = Uint32Array.from({ length: 256 }, (_, i) => {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** The checksum CRC-32C (Castagnoli, RFC 3720). */
export function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = table[(sum ^ byte) & 0xff]! ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
