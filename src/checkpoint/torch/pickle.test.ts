import { describe, expect, it } from 'vitest';
import {
  Call,
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

const tensor = new Call(
  new Global('torch._utils', '_rebuild_tensor_v2'),
  tuple(
    new Persistent(tuple('storage', new Global('torch', 'FloatStorage'), '0', 'cpu', 6)),
    0,
    tuple(2, 3),
    tuple(3, 1),
    false,
    new Call(new Global('collections', 'OrderedDict'), tuple()),
  ),
);

const ordered = new Call(new Global('collections', 'OrderedDict'), tuple());
ordered.entries.set('weight', tensor);

const fixtures: Record<string, Pickled> = {
  none: null,
  booleans: tuple(true, false),
  ints: [
    0,
    255,
    256,
    65535,
    65536,
    -1,
    2 ** 31 - 1,
    -(2 ** 31),
    2 ** 31,
    -(2 ** 40),
    Number.MAX_SAFE_INTEGER,
  ],
  'wide int': 2n ** 63n - 1n,
  floats: tuple(...[0, 1, -1.5, 1e-6, Number.MAX_VALUE, -Infinity].map((v) => new Float(v))),
  strings: ['', 'blocks.0.attn.qkv.weight', 'ünïcode 🙂', 'x'.repeat(70000)],
  nested: tuple(tuple(), [[], [tuple(1)]], new Map<Pickled, Pickled>([['a', new Map()]])),
  'empty dict': new Map(),
  tensor,
  'ordered dict': ordered,
  object: instance(new Global('__torch__', 'ViT'), new Map([['weight', tensor]])),
};

describe('writePickle and readPickle', () => {
  it.each(Object.entries(fixtures))('round trip of %s', (_, value) => {
    const bytes = writePickle(value);
    expect([...bytes.subarray(0, 2)]).toEqual([0x80, 2]);
    expect(readPickle(bytes)).toEqual(value);
    expect(writePickle(readPickle(bytes))).toEqual(bytes);
  });

  it('keeps an int and a float of the same number apart', () => {
    expect(writePickle(1)).not.toEqual(writePickle(new Float(1)));
    expect(() => writePickle(0.5)).toThrow(/no int/);
    expect(() => writePickle(2n ** 63n)).toThrow(/64 bits/);
  });

  it("writes floats big endian and the C++ unpickler's opcodes", () => {
    expect(Buffer.from(writePickle(tuple(new Float(1), [true], 300))).toString('latin1')).toBe(
      '\x80\x02(G\x3f\xf0\0\0\0\0\0\0](\x88eM\x2c\x01t.',
    );
  });
});

describe('readPickle', () => {
  const read = (text: string) => readPickle(Uint8Array.from(text, (c) => c.charCodeAt(0)));

  it('follows the memo, single appends and items, and later protocols', () => {
    expect(read('\x80\x02]q\x00K\x01ah\x00\x86.')).toEqual(tuple([1], [1]));
    expect(read('\x80\x02}X\x01\x00\x00\x00aK\x05s.')).toEqual(new Map([['a', 5]]));
    expect(read('\x80\x04\x95\x07\0\0\0\0\0\0\0\x8c\x01a\x8c\x01b\x93.')).toEqual(new Global('a', 'b'));
    expect(read('\x80\x02\x8a\x02\xff\xff.')).toBe(-1);
  });

  it('describes a call and runs nothing', () => {
    const value = read('\x80\x02cos\nsystem\nX\x04\0\0\0echo\x85R.') as Call;
    expect(value).toEqual(new Call(new Global('os', 'system'), new Tuple(['echo'])));
  });

  it('refuses a pickle cut at any byte', () => {
    const bytes = writePickle(fixtures.object!);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => readPickle(bytes.subarray(0, length))).toThrow(/damaged pickle/);
    }
  });

  it.each([
    ['\x80\x02t.', 'mark'],
    ['\x80\x02.', 'not there'],
    ['\x80\x02h\x05.', 'not kept'],
    ['\x80\x02K\x01K\x02a.', 'no list'],
    ['\x80\x02K\x01NR.', 'no tuple'],
    ['\x80\x02Nq\0Nb.', 'no object'],
    ['\x80\x02X\xff\xff\xff\xffa.', 'truncated'],
    ['\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.', 'truncated'],
    ['\x80\x02i.', '0x69'],
  ])('refuses %j', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
