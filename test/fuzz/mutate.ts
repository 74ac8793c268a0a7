import type { Random } from '../../src/common/random.ts';

/** Numbers that size checks and loops fall over. */
const numbers = [
  0,
  -1,
  1,
  2,
  255,
  2 ** 16,
  2 ** 31,
  2 ** 32 + 1,
  2 ** 40,
  2 ** 53,
  1e15,
  1e30,
  1e308,
  -1e9,
  0.5,
];
/** Names and texts that look-ups, paths and terminals fall over. */
const words = [
  ...['', ' ', 'constructor', '__proto__', 'toString', 'hasOwnProperty', 'null', 'NaN', '../../etc/passwd'],
  ...[
    'a\0b',
    'two\nlines',
    '\u001b[31m',
    '\u202e',
    '\ud800',
    'x'.repeat(10_000),
    '[]',
    '{}',
    '%s',
    '/dev/zero',
  ],
];

const pick = <T>(random: Random, from: readonly T[]): T => from[random.below(from.length)]!;

/** Bytes with a few of them changed, taken out, doubled or cut off. */
export function mutatedBytes(bytes: Uint8Array, random: Random): Uint8Array {
  let result = Uint8Array.from(bytes);
  for (let changes = 1 + random.below(8); changes > 0 && result.length > 0; changes--) {
    const at = random.below(result.length);
    const length = 1 + random.below(Math.min(16, result.length));
    switch (random.below(5)) {
      case 0:
        result[at] = random.below(256);
        break;
      case 1:
        result[at]! ^= 1 << random.below(8);
        break;
      case 2:
        result = spliced(result, at, length, new Uint8Array());
        break;
      case 3:
        result = spliced(result, at, 0, result.subarray(at, at + length).slice());
        break;
      default:
        result =
          random.below(4) === 0 ? result.slice(0, at) : result.fill(pick(random, [0, 255]), at, at + length);
    }
  }
  return result;
}

function spliced(bytes: Uint8Array, at: number, drop: number, put: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(bytes.length - Math.min(drop, bytes.length - at) + put.length);
  result.set(bytes.subarray(0, at));
  result.set(put, at);
  result.set(bytes.subarray(Math.min(bytes.length, at + drop)), at + put.length);
  return result;
}

/** A JSON value with one to three of its parts made into something else. */
export function mutatedValue(value: unknown, random: Random): unknown {
  const root = { value: structuredClone(value) };
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const places = placesIn(root);
    const { holder, key } = places[random.below(places.length)]!;
    const old = (holder as Record<string, unknown>)[key];
    if (random.below(20) === 0) {
      (holder as Record<string, unknown>)[key] = deep(random.below(3) === 0 ? 20_000 : 3);
      break;
    }
    if (random.below(6) === 0 && Array.isArray(holder)) holder.splice(Number(key), 1);
    else if (random.below(6) === 0 && holder !== root) delete (holder as Record<string, unknown>)[key];
    else (holder as Record<string, unknown>)[key] = other(old, random);
  }
  return root.value;
}

interface Place {
  holder: object;
  key: string;
}

function placesIn(holder: object): Place[] {
  return Object.keys(holder).flatMap((key): Place[] => {
    const value = (holder as Record<string, unknown>)[key];
    return [{ holder, key }, ...(typeof value === 'object' && value !== null ? placesIn(value) : [])];
  });
}

function other(old: unknown, random: Random): unknown {
  switch (random.below(7)) {
    case 0:
    case 1:
      return pick(random, numbers);
    case 2:
    case 3:
      return pick(random, words);
    case 4:
      return pick(random, [null, true, false, [], {}]);
    case 5:
      return [old, old, old];
    default:
      return { [pick(random, words)]: old };
  }
}

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = [value];
  return value;
}

/** JSON of values nested however deeply, which the built-in one can't write. */
export function json(value: unknown): string {
  const pieces: string[] = [];
  const open: (string | { value: unknown })[] = [{ value }];
  while (open.length > 0) {
    const next = open.pop()!;
    if (typeof next === 'string') pieces.push(next);
    else if (Array.isArray(next.value)) {
      const parts = next.value.flatMap((item, i) => [...(i ? [','] : []), { value: item }]);
      open.push(']', ...parts.reverse(), '[');
    } else if (typeof next.value === 'object' && next.value !== null) {
      const parts = Object.entries(next.value).flatMap(([key, item], i) => [
        `${i ? ',' : ''}${JSON.stringify(key)}:`,
        { value: item },
      ]);
      open.push('}', ...parts.reverse(), '{');
    } else pieces.push(JSON.stringify(next.value) ?? 'null');
  }
  return pieces.join('');
}
