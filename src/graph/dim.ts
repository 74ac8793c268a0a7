import type { Dim, Shape } from './types.ts';

/**
 * Axis lengths are monomials: a whole number times symbols, written `197*N`. That is closed under
 * what Reshape does (products and exact quotients), so a batch axis folded into another one and
 * unfolded again is known to be the batch.
 */
interface Monomial {
  factor: number;
  symbols: string[];
}

function parse(dim: Dim): Monomial {
  if (typeof dim === 'number') return { factor: dim, symbols: [] };
  const monomial: Monomial = { factor: 1, symbols: [] };
  for (const part of dim.split('*')) {
    if (/^\d+$/.test(part)) monomial.factor *= Number(part);
    else monomial.symbols.push(part);
  }
  return monomial;
}

function print({ factor, symbols }: Monomial): Dim {
  if (symbols.length === 0 || factor === 0) return factor;
  const sorted = [...symbols].sort().join('*');
  return factor === 1 ? sorted : `${factor}*${sorted}`;
}

/** Is nothing known of the length, or of a factor of it? */
export const isUnknown = (dim: Dim | undefined): boolean =>
  dim === undefined || (typeof dim === 'string' && parse(dim).symbols.includes('?'));

/** Are two axis lengths known to be the same? Two of which nothing is known are not. */
export const sameDim = (a: Dim | undefined, b: Dim | undefined): boolean => a === b && !isUnknown(a);

/** Are two shapes known to be the same? */
export const sameShape = (a: Shape | undefined, b: Shape | undefined): boolean =>
  a !== undefined && a.length === b?.length && a.every((dim, i) => sameDim(dim, b[i]));

/** The product of axis lengths. */
export function multiplyDims(dims: Shape): Dim {
  const all = dims.map(parse);
  return print({
    factor: all.reduce((product, m) => product * m.factor, 1),
    symbols: all.flatMap((m) => m.symbols),
  });
}

/** The exact quotient of two axis lengths; undefined when it does not divide, or is not known to. */
export function divideDims(numerator: Dim, denominator: Dim): Dim | undefined {
  const a = parse(numerator);
  const b = parse(denominator);
  if (b.factor === 0 || a.factor % b.factor !== 0) return undefined;
  for (const symbol of b.symbols) {
    const at = symbol === '?' ? -1 : a.symbols.indexOf(symbol);
    if (at < 0) return undefined;
    a.symbols.splice(at, 1);
  }
  return print({ factor: a.factor / b.factor, symbols: a.symbols });
}

/**
 * Numpy broadcasting of two shapes. A number wins against a symbol it meets (the symbol must then be
 * that number or 1 at run time).
 * @throws Error when two numbers disagree
 */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x === y || y === 1) return x;
    if (x === 1) return y;
    if (typeof x === 'number' && typeof y === 'number') {
      throw new Error(`shapes [${a}] and [${b}] don't broadcast`);
    }
    return typeof x === 'number' ? x : y;
  });
}

/** An axis in [0, rank) from one that may count from the end. @throws Error when it is outside */
export function normalizeAxis(axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normal < 0 || normal >= rank) {
    throw new Error(`axis ${axis} is outside rank ${rank}`);
  }
  return normal;
}
