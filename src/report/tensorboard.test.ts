import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { afterAll, describe, expect, it } from 'vitest';
import { EventFile } from './tensorboard.node.ts';
import { crc32c } from './tensorboard.ts';

const root = mkdtempSync(join(tmpdir(), 'tensorboard-'));
afterAll(() => rmSync(root, { recursive: true }));

const unmasked = (sum: number) => {
  const turned = (sum - 0xa282ead8) >>> 0;
  return ((turned >>> 17) | (turned << 15)) >>> 0;
};

interface Read {
  step: number;
  version?: string;
  restarts?: boolean;
  values: Record<string, number>;
}

function eventsOf(file: Buffer): Read[] {
  const events: Read[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    expect(unmasked(file.readUInt32LE(at + 8))).toBe(crc32c(file.subarray(at, at + 8)));
    const bytes = file.subarray(at + 12, at + 12 + length);
    expect(unmasked(file.readUInt32LE(at + 12 + length))).toBe(crc32c(bytes));
    at += length + 16;
    const read: Read = { step: 0, values: {} };
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 1) expect(Math.abs(reader.double() - Date.now() / 1000)).toBeLessThan(60);
      else if (field === 2) read.step = Number(reader.int64());
      else if (field === 3) read.version = reader.string();
      else if (field === 7) read.restarts = Buffer.from(reader.bytes()).equals(Buffer.from([8, 1]));
      else if (field === 5) Object.assign(read.values, valuesOf(reader.bytes()));
      else reader.skip(type);
    }
    events.push(read);
  }
  return events;
}

function valuesOf(bytes: Uint8Array): Record<string, number> {
  const values: Record<string, number> = {};
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    reader.tag();
    const entry = new BinaryReader(reader.bytes());
    entry.tag();
    const name = entry.string();
    entry.tag();
    values[name] = entry.float();
  }
  return values;
}

describe('what TensorBoard reads', () => {
  it('is checked by the checksum of RFC 3720', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  });

  it('holds the figures of steps and epochs, and says where a training goes on', () => {
    const folder = join(root, 'run');
    const run = { name: 'vit', epochs: 2, totalSteps: 4, imagesAStep: 8 };
    const first = new EventFile(folder);
    first.begin({ ...run, history: { steps: [], epochs: [] } });
    const step = { step: 1, epoch: 1, loss: 2.5, lr: 0.125, gradNorm: 0.5 };
    first.step(step);
    first.step({ ...step, step: 2, loss: 2.25 });
    first.epoch({ epoch: 1, loss: 2.375, trainTop1: 0.25 });
    first.end();
    const [name] = readdirSync(folder);
    expect(name).toMatch(/^events\.out\.tfevents\.\d+\..*\.pqv$/);
    const events = eventsOf(readFileSync(join(folder, name!)));
    expect(events[0]).toEqual({ step: 0, version: 'brain.Event:2', values: {} });
    expect(events[1]).toEqual({
      step: 1,
      values: { 'train/loss': 2.5, 'train/lr': 0.125, 'train/grad_norm': 0.5 },
    });
    expect(events[2]!.values['train/images_per_second']).toBeGreaterThan(0);
    expect(events[3]).toEqual({ step: 1, values: { 'epoch/loss': 2.375, 'epoch/train_top1': 0.25 } });

    rmSync(join(folder, name!));
    const second = new EventFile(folder);
    second.begin({ ...run, history: { steps: [step], epochs: [] } });
    second.end();
    const [again] = readdirSync(folder);
    expect(eventsOf(readFileSync(join(folder, again!)))[1]).toEqual({ step: 2, restarts: true, values: {} });
  });

  it('is refused where no folder can be', () => {
    writeFileSync(join(root, 'file'), '');
    expect(() => new EventFile(join(root, 'file', 'run'))).toThrow("can't write TensorBoard's files into");
  });
});
