import { rmSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { pqv, scratch, tinyArgs } from './command.ts';
import { type Counts, counted, faulty, leftoversOf, resultsOf } from './faults/run.ts';

/** `npm run faults` tries every rename, and the first and last write into every file; the tests a few. */
const everywhere = process.env.PQV_FAULTS === 'all';

const at = scratch();
const optimize = (folder: string, ...rest: string[]) => [
  ...['optimize', at('model'), '-o', at(folder), '--data', 'mnist', '--samples', '20', '--runs', '1'],
  ...['--prune', '0.25', '--finetune-epochs', '1', '--finetune-limit', '128', '--quiet', ...rest],
];

let counts: Counts;
let expected: Record<string, string>;

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  counts = counted(optimize('whole'), at('counts.json'));
  expected = resultsOf(at('whole'));
  expect(Object.keys(expected)).toHaveLength(4);
}, 3_600_000);

/** All of them, or a few from all over. */
const some = (all: readonly number[], few: number): number[] => {
  const step = everywhere ? 1 : Math.max(1, Math.ceil(all.length / few));
  return all.filter((_, i) => i % step === 0);
};
const renames = ({ rename }: Counts): number[] => Array.from({ length: rename }, (_, i) => i + 1);
const writes = ({ files }: Counts): number[] => [
  ...new Set(files.flatMap(({ first, last }) => [first, last])),
];

/** Ends what was begun, and looks at what is there. */
function resumes(folder: string): void {
  const { status, stderr } = faulty('none', optimize(folder, '--resume'));
  expect(status, stderr).toBe(0);
  expect(resultsOf(at(folder))).toEqual(expected);
  expect(leftoversOf(at(folder))).toEqual([]);
  rmSync(at(folder), { recursive: true });
}

const patience = everywhere ? 3_600_000 : 120_000;

describe('a run that is killed', () => {
  it.each(['rename', 'renamed'])(
    'at a file that takes its place (%s) ends resumed with the same bits',
    (kind) => {
      for (const place of some(renames(counts), 2)) {
        const { signal } = faulty(`${kind}:${place}`, optimize('killed'));
        expect(signal, `${kind} ${place} of ${counts.rename}`).toBe('SIGKILL');
        resumes('killed');
      }
    },
    patience,
  );
});

describe('a disk that fills up', () => {
  it(
    'is told in one line, and the run ends once there is room',
    () => {
      for (const place of some(writes(counts), 3)) {
        const { status, stderr } = faulty(`write:${place}`, optimize('full'));
        expect(stderr, `write ${place} of ${counts.write}`).toMatch(
          /^pqv: error: can't write .*: the disk is full\n$/,
        );
        expect(status).toBe(2);
        resumes('full');
      }
    },
    patience,
  );

  it(
    'leaves the model folder that was there',
    async () => {
      expect(await pqv('prune', at('model'), '-o', at('kept'), '--ratio', '0.25')).toMatchObject({ code: 0 });
      const again = ['prune', at('model'), '-o', at('kept'), '--ratio', '0.5'];
      const before = (await pqv('inspect', at('kept'), '--json')).stdout;
      const found = counted(['prune', at('model'), '-o', at('other'), '--ratio', '0.5'], at('counts.json'));
      for (const place of some(writes(found), 4)) {
        expect(faulty(`write:${place}`, again).status).toBe(2);
        expect((await pqv('inspect', at('kept'), '--json')).stdout, `write ${place}`).toBe(before);
        expect(leftoversOf(at('kept'))).toEqual([]);
      }
    },
    patience,
  );
});
