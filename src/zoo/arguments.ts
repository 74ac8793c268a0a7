import { UserError } from '../common/errors.ts';
import { nearestNames } from '../common/near-names.ts';
import { quoted } from '../common/quoted.ts';
import { layerArgument } from './layers/layer-spec.ts';
import type { ModelArgs } from './model-args.ts';

/**
 * Typed reads of a constructor's arguments; null counts as absent, as timm's None does.
 * @param known the arguments the constructor has
 * @param withoutEffect those it has too, but that only training or other input sizes see
 * @throws UserError on an argument it does not have; each read on a value of the wrong kind
 */
export function readArguments(
  args: ModelArgs,
  known: readonly string[],
  withoutEffect: readonly string[] = [],
) {
  for (const name of Object.keys(args)) {
    if (known.includes(name) || withoutEffect.includes(name)) continue;
    const near = nearestNames(name, known, 1);
    throw new UserError(
      `unknown model argument ${quoted(name)}${near.length ? `; did you mean ${near}?` : ''}`,
    );
  }
  const wrong = (name: string, wanted: string) =>
    new UserError(`model argument ${name} is ${quoted(args[name])}; it must be ${wanted}`);
  const read = {
    number(name: string, fallback: number): number {
      const value = args[name] ?? fallback;
      if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(name, 'a number');
      return value;
    },
    integer(name: string, fallback: number, low: number): number {
      const value = args[name] ?? fallback;
      if (!Number.isInteger(value) || (value as number) < low) {
        throw wrong(name, `a whole number of at least ${low}`);
      }
      return value as number;
    },
    /** A number for each of `length` stages; one number stands for all of them. */
    perStage(name: string, fallback: readonly number[]): readonly number[] {
      const value = args[name] ?? fallback;
      const list = Array.isArray(value) ? value : fallback.map(() => value);
      if (!list.length || !list.every((item) => typeof item === 'number' && Number.isFinite(item))) {
        throw wrong(name, 'a list of numbers, one a stage');
      }
      return list;
    },
    /** As `perStage`, of whole numbers of at least `low`. */
    integers(name: string, fallback: readonly number[], low = 1): readonly number[] {
      const list = read.perStage(name, fallback);
      if (!list.every((item) => Number.isInteger(item) && item >= low)) {
        throw wrong(name, `a list of whole numbers of at least ${low}, one a stage`);
      }
      return list;
    },
    text(name: string, fallback: string): string {
      const value = args[name] ?? fallback;
      if (typeof value !== 'string') throw wrong(name, 'text');
      return value;
    },
    boolean(name: string, fallback: boolean): boolean {
      const value = args[name] ?? fallback;
      if (typeof value !== 'boolean') throw wrong(name, 'true or false');
      return value;
    },
    oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
      const value = args[name] ?? fallback;
      if (!allowed.includes(value as T))
        throw wrong(name, `one of ${allowed.map((a) => `"${a}"`).join(', ')}`);
      return value as T;
    },
    layer<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
      const value = args[name] ?? fallback;
      const found = layerArgument(name, value).name as T;
      if (!allowed.includes(found)) throw wrong(name, `one of ${allowed.filter(Boolean).join(', ')}`);
      return found;
    },
    pair(name: string, fallback: number): readonly [number, number] {
      const value = args[name] ?? fallback;
      const pair = Array.isArray(value) ? value : [value, value];
      if (pair.length !== 2 || !pair.every((size) => Number.isInteger(size) && size > 0)) {
        throw wrong(name, 'a size in pixels, or [height, width]');
      }
      return pair as unknown as readonly [number, number];
    },
  };
  return read;
}

/** @throws UserError when lists with an entry for each stage are not equally long */
export function checkStages(lists: Readonly<Record<string, readonly unknown[]>>): void {
  const [[first, { length }], ...rest] = Object.entries(lists) as [
    [string, readonly unknown[]],
    ...[string, readonly unknown[]][],
  ];
  for (const [name, list] of rest) {
    if (list.length !== length) {
      throw new UserError(`${first} is of ${length} stages, ${name} of ${list.length}`);
    }
  }
}

/** @throws UserError when a width is not a multiple of its number of heads */
export function checkHeads(widths: readonly number[], heads: readonly number[]): void {
  const stage = widths.findIndex((width, i) => width % heads[i]! !== 0);
  if (stage >= 0) {
    throw new UserError(
      `${widths[stage]} channels of stage ${stage} are not divisible by its ${heads[stage]} heads`,
    );
  }
}
