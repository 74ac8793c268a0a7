import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { UserError } from './errors.ts';
import { optionsOf, validated } from './options.ts';

const [n, x] = [z.number().int(), z.number()];

describe('optionsOf', () => {
  it('says what each option is called, is, and defaults to', () => {
    const schema = z.strictObject({
      roundTo: n.min(1).default(8).meta({ description: 'rounding', value: 'k' }),
      global: z.boolean().default(false).meta({ description: 'all at once' }),
      names: z.array(z.string()).default([]).meta({ description: 'some names' }),
      ratio: x.gt(0).lt(1),
    });
    const keys = ['name', 'kind', 'list', 'default', 'required', 'value'] as const;
    expect(optionsOf(schema).map((option) => keys.map((key) => option[key]))).toEqual([
      ['round-to', 'integer', false, 8, false, 'k'],
      ['global', 'flag', false, false, false, ''],
      ['names', 'text', true, [], false, 'name'],
      ['ratio', 'number', false, undefined, true, 'x'],
    ]);
  });

  it.each([
    [n, 'a whole number', ['3', '-3'], ['3.5', '', 'three']],
    [n.min(1), 'a whole number of at least 1', ['1'], ['0']],
    [n.min(0).max(8), 'a whole number from 0 to 8', ['8'], ['9', '-1']],
    [x.gt(0).lt(1), 'a number between 0 and 1, both excluded', ['0.5'], ['0', '1']],
    [x.min(0).lt(1), 'a number from 0, below 1', ['0'], ['1']],
    [x.gt(0).max(1), 'a number above 0, at most 1', ['1'], ['0', '1.1']],
    [x.gt(0), 'a number above 0', ['1e-9'], ['0', 'Infinity']],
    [z.enum(['a', 'b']), 'one of a, b', ['b'], ['c']],
    [z.array(z.enum(['a', 'b'])), 'a list, each one of a, b', ['b'], ['c']],
  ])('%# takes what it wants', (field, wanted, good, bad) => {
    const [option] = optionsOf(z.strictObject({ field }));
    expect(option!.wanted).toBe(wanted);
    for (const text of good) expect(String(option!.parse(text))).toBe(String(Number(text) || text));
    for (const text of bad) expect(() => option!.parse(text)).toThrow(UserError);
  });
});

describe('validated', () => {
  const schema = z.strictObject({
    size: n.min(1).default(4),
    part: z.strictObject({ share: x.min(0).max(1) }).optional(),
  });

  it('fills in defaults', () => {
    expect(validated(schema, { part: { share: 0.5 } })).toEqual({ size: 4, part: { share: 0.5 } });
  });

  it.each([
    [{ size: 0 }, 'option size: it must be a whole number of at least 1, not 0'],
    [{ size: 'big' }, 'option size: it must be a whole number of at least 1, not "big"'],
    [{ part: {} }, 'option part.share is missing: it must be a number from 0 to 1'],
    [{ part: { shares: 1, share: 1 } }, 'no option part.shares; there are share'],
    [{ sizes: 3 }, 'no option sizes; there are size, part'],
    [{ part: 3 }, /^option part: /],
    [undefined, /^option \?: /],
  ])('%j is refused', (input, message) => {
    expect(() => validated(schema, input)).toThrow(message);
    expect(() => validated(schema, input)).toThrow(UserError);
  });
});
