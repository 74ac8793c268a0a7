import { describe, expect, it } from 'vitest';
import { UserError } from '../../common/errors.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { readCheckpoint } from '../read-checkpoint.ts';
import { inMemory } from '../safetensors.ts';
import {
  Call,
  everyPart,
  Float,
  Global,
  instance,
  Persistent,
  type Pickled,
  Tuple,
  tuple,
  writePickle,
} from './pickle.ts';
import { readPickle } from './unpickle.ts';
import { writeZip } from './zip.ts';

const utils = (name: string) => new Global('torch._utils', name);
const hooks = new Call(new Global('collections', 'OrderedDict'), tuple());

interface Layout {
  type?: string;
  key?: string;
  count?: number;
  offset?: number;
  shape?: number[];
  strides?: number[];
}

/** A tensor as torch.save describes it; by default 2 x 3 floats, all of storage 0. */
function described(layout: Layout = {}): Call {
  const { type = 'FloatStorage', key = '0', count = 6, offset = 0 } = layout;
  const { shape = [2, 3], strides = [3, 1] } = layout;
  const storage = new Persistent(tuple('storage', new Global('torch', type), key, 'cpu', count));
  return new Call(
    utils('_rebuild_tensor_v2'),
    tuple(storage, offset, new Tuple(shape), new Tuple(strides), false, hooks),
  );
}

const six = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
const dict = (entries: Record<string, Pickled>): Pickled => new Map(Object.entries(entries));
const joined = (pieces: Iterable<Uint8Array>) => new Uint8Array(Buffer.concat([...pieces]));

/** A zip archive of torch.save. */
function archive(value: Pickled, storages: Record<string, Uint8Array> = { 0: six }, more: string[] = []) {
  const files = [
    { name: 'a/data.pkl', bytes: () => writePickle(value) },
    ...Object.entries(storages).map(([key, bytes]) => ({ name: `a/data/${key}`, bytes: () => bytes })),
    ...more.map((name) => ({ name: `a/${name}`, bytes: () => new Uint8Array(0) })),
  ];
  return joined(writeZip(files));
}

/** The form before PyTorch 1.6. */
function legacy(value: Pickled, storages: [string, number, Uint8Array][] = [['0', 6, six]]) {
  const magic = Uint8Array.of(
    0x80,
    2,
    0x8a,
    10,
    0x6c,
    0xfc,
    0x9c,
    0x46,
    0xf9,
    0x20,
    0x6a,
    0xa8,
    0x50,
    0x19,
    0x2e,
  );
  const machine = dict({ protocol_version: 1001, little_endian: true });
  const count = (n: number) => new Uint8Array(BigInt64Array.of(BigInt(n)).buffer);
  return joined([
    magic,
    ...[1001, machine, value, storages.map(([key]) => key)].map(writePickle),
    ...storages.flatMap(([, n, bytes]) => [count(n), bytes]),
  ]);
}

const read = (bytes: Uint8Array) => readCheckpoint(inMemory(bytes, 'weights.pth'));
const numbers = (tensor: Tensor) => [tensor.dtype, [...tensor.shape], ...(tensor.data as Iterable<number>)];

describe('readCheckpoint', () => {
  it.each([
    ['a zip archive', archive(dict({ w: described() }))],
    ['the legacy form', legacy(dict({ w: described() }))],
  ])('reads %s', (_what, bytes) => {
    const { tensors, entry } = read(bytes);
    expect(entry).toBe('');
    expect([...tensors].map(([name, tensor]) => [name, ...numbers(tensor)])).toEqual([
      ['w', 'float32', [2, 3], 1, 2, 3, 4, 5, 6],
    ]);
  });

  it('reads tensors that share a storage, transposed, parameters and scalars', () => {
    const { tensors } = read(
      archive(
        dict({
          row: described({ offset: 3, shape: [3], strides: [1] }),
          transposed: described({ shape: [3, 2], strides: [1, 3] }),
          repeated: described({ offset: 5, shape: [2, 2], strides: [0, 0] }),
          scalar: described({ offset: 1, shape: [], strides: [] }),
          empty: described({ shape: [0, 4], strides: [4, 1] }),
          parameter: new Call(utils('_rebuild_parameter'), tuple(described(), true, hooks)),
        }),
      ),
    );
    expect([...tensors.values()].map((tensor) => numbers(tensor).slice(1))).toEqual([
      [[3], 4, 5, 6],
      [[3, 2], 1, 4, 2, 5, 3, 6],
      [[2, 2], 6, 6, 6, 6],
      [[], 2],
      [[0, 4]],
      [[2, 3], 1, 2, 3, 4, 5, 6],
    ]);
  });

  it('finds the state dict that people saved beside other things, the moving average first', () => {
    const model = dict({ w: described() });
    const args = instance(new Global('argparse', 'Namespace'), dict({ lr: new Float(0.1) }));
    const entry = (value: Pickled) => read(archive(value)).entry;
    expect(entry(dict({ model, args, epoch: 3 }))).toBe('model');
    expect(entry(dict({ epoch: 3, state_dict: model, optimizer: dict({ state: new Map() }) }))).toBe(
      'state_dict',
    );
    expect(entry(dict({ model, state_dict_ema: dict({ w: described() }) }))).toBe('state_dict_ema');
    expect(entry(dict({ checkpoint: 1, model: dict({ state_dict: model }) }))).toBe('model.state_dict');
    const ordered = new Call(new Global('collections', 'OrderedDict'), tuple());
    ordered.entries.set('module', model);
    expect(entry(ordered)).toBe('module');
  });

  const quantized = new Call(utils('_rebuild_qtensor'), tuple());
  const refused: [string, Uint8Array, RegExp][] = [
    [
      'quantized storages',
      archive(dict({ w: described({ type: 'QInt8Storage' }) }), { 0: six.subarray(0, 6) }),
      /tensor "w": its elements are quantized \(QInt8Storage\)/,
    ],
    ['quantized tensors', archive(dict({ w: quantized })), /tensor "w": it is quantized/],
    ['packed layers', archive(dict({ w: tuple(quantized, null) })), /tensor "w": it is quantized/],
    ['sparse ones', archive(dict({ w: new Call(utils('_rebuild_sparse_tensor'), tuple()) })), /it is sparse/],
    [
      'whole models',
      archive(instance(new Global('timm.models.deit', 'VisionTransformer'), dict({ _modules: new Map() }))),
      /whole pickled object \("timm\.models\.deit\.VisionTransformer"\).*state_dict\(\)/,
    ],
    ['programs', archive(new Map(), {}, ['constants.pkl']), /TorchScript program/],
    ['zip archives of others', joined(writeZip([{ name: 'a/x', bytes: () => six }])), /no data\.pkl/],
    ['a dict without weights', archive(dict({ epoch: 3 })), /no state dict in it: its entries are "epoch"/],
    ['pickles of others', writePickle(dict({})), /torch\.save did not write/],
    ['missing storages', archive(dict({ w: described() }), {}), /storage "0" is missing/],
    ['short storages', archive(dict({ w: described() }), { 0: six.subarray(4) }), /20 bytes, not 6 x 4/],
    ['tensors outside', archive(dict({ w: described({ offset: 1 }) })), /does not fit the 6 elements/],
    ['negative strides', archive(dict({ w: described({ strides: [-3, 1] }) })), /no sensible place/],
    [
      'tensors of more than there is',
      archive(dict({ w: described({ shape: [2 ** 30], strides: [0] }) })),
      /repeats the 6 elements/,
    ],
    ['a truncated storage', legacy(dict({ w: described() })).slice(0, -1), /truncated in storage "0"/],
    [
      'a storage of 2^62 elements',
      legacy(dict({ w: described() }), [['0', 2 ** 52, six]]),
      /truncated in storage "0"/,
    ],
    ['Git LFS pointers', new TextEncoder().encode('version https://git-lfs.github.com/spec/v1'), /Git LFS/],
    ['web pages', new TextEncoder().encode('<!DOCTYPE html><html>'), /web page/],
  ];
  it.each(refused)('refuses %s in one line that names the file', (_what, bytes, message) => {
    const act = () => [...read(bytes).tensors.values()].map((tensor) => tensor.data);
    expect(act).toThrow(UserError);
    expect(act).toThrow(message);
    expect(act).toThrow(/^weights\.pth[^\n]{0,400}$/);
  });

  it('refuses files cut or changed at any place, or reads them, and never does anything else', () => {
    for (const whole of [archive(dict({ w: described() })), legacy(dict({ w: described() }))]) {
      for (let at = 0; at < whole.length; at += 3) {
        const flipped = whole.slice();
        flipped[at]! ^= 0xff;
        for (const bytes of [whole.slice(0, at), flipped]) {
          try {
            for (const tensor of read(bytes).tensors.values()) expect(tensor.bytes.length).toBeLessThan(100);
          } catch (error) {
            expect(error).toBeInstanceOf(UserError);
          }
        }
      }
    }
  });
});

describe('hostile pickles', () => {
  const text = (parts: string) => Uint8Array.from(parts, (character) => character.charCodeAt(0));

  it('ends where each value holds the one before twice', () => {
    const doubling = Array.from(
      { length: 60 },
      (_, i) => `h${String.fromCharCode(i)}h${String.fromCharCode(i)}\x86q${String.fromCharCode(i + 1)}0`,
    );
    const pickled = text(`\x80\x02]q\x000${doubling.join('')}h\x3c.`);
    expect([...everyPart(readPickle(pickled))].length).toBe(61);
    const file = { name: 'a/data.pkl', bytes: () => pickled };
    expect(() => read(joined(writeZip([file])))).toThrow(/no state dict/);
  });

  it('walks a list that holds itself, and tuples as deep as the file', () => {
    expect([...everyPart(readPickle(text('\x80\x02]q\x00h\x00a.')))].length).toBe(1);
    const deep = readPickle(text(`\x80\x02)${'\x85'.repeat(300_000)}.`));
    expect([...everyPart(deep)].length).toBe(300_001);
  });

  it('has a budget of steps and of digits', () => {
    expect(() => readPickle(text(`\x80\x02${'}'.repeat(1_000_001)}.`))).toThrow(/more than 1000000 steps/);
    const long = text('\x80\x02\x8b\x00\x10\x00\x00');
    expect(() => readPickle(joined([long, new Uint8Array(4096), text('.')]))).toThrow(/4096 bytes/);
    expect(() => readPickle(text(`\x80\x02c${'a'.repeat(5000)}\n`))).toThrow(/name without end/);
  });
});
