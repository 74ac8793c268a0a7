import fc from 'fast-check';
import { expect, it } from 'vitest';
import { broadcastShapes, divideDims, isUnknown, multiplyDims, sameDim } from './dim.ts';
import type { Dim } from './types.ts';

const dim: fc.Arbitrary<Dim> = fc
  .tuple(fc.integer({ min: 1, max: 12 }), fc.array(fc.constantFrom('N', 'H', 'batch'), { maxLength: 3 }))
  .map(([factor, symbols]) => multiplyDims([factor, ...symbols]));
const lengths = fc.record({
  N: fc.integer({ min: 1, max: 9 }),
  H: fc.integer({ min: 1, max: 9 }),
  batch: fc.integer({ min: 1, max: 9 }),
});

/** The length when symbols have these values. */
const lengthWith = (length: Dim, values: Record<string, number>): number =>
  String(length)
    .split('*')
    .reduce((product, part) => product * (values[part] ?? Number(part)), 1);

it('products and quotients of lengths are those of the numbers that they stand for', () => {
  fc.assert(
    fc.property(dim, dim, lengths, (a, b, values) => {
      const product = multiplyDims([a, b]);
      expect(lengthWith(product, values)).toBe(lengthWith(a, values) * lengthWith(b, values));
      expect(sameDim(divideDims(product, b), a)).toBe(true);
      const quotient = divideDims(a, b);
      if (quotient !== undefined) {
        expect(lengthWith(quotient, values) * lengthWith(b, values)).toBe(lengthWith(a, values));
      }
      expect(multiplyDims([b, a])).toBe(product);
    }),
  );
});

it('a length of which nothing is known is no other, not even itself', () => {
  fc.assert(
    fc.property(dim, (a) => {
      const unknown = multiplyDims([a, '?']);
      expect(isUnknown(unknown)).toBe(true);
      expect(sameDim(unknown, unknown)).toBe(false);
      expect(divideDims(unknown, '?')).toBeUndefined();
    }),
  );
});

it('shapes broadcast as numbers do', () => {
  const shape = fc.array(fc.constantFrom(1, 2, 3), { maxLength: 4 });
  fc.assert(
    fc.property(shape, shape, (a, b) => {
      const rank = Math.max(a.length, b.length);
      const padded = (given: number[]) => [...Array(rank - given.length).fill(1), ...given] as number[];
      const pairs = padded(a).map((x, i): [number, number] => [x, padded(b)[i]!]);
      if (pairs.some(([x, y]) => x !== y && x !== 1 && y !== 1)) {
        expect(() => broadcastShapes(a, b)).toThrow();
        return;
      }
      expect(broadcastShapes(a, b)).toEqual(pairs.map(([x, y]) => Math.max(x, y)));
      expect(broadcastShapes(b, a)).toEqual(broadcastShapes(a, b));
    }),
  );
});
