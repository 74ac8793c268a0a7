import { describe, expect, it } from 'vitest';
import { InterruptedError, UserError } from '../src/common/errors.ts';
import { printable } from '../src/common/printable.ts';
import { Random } from '../src/common/random.ts';
import { kinds } from './fuzz/kinds.ts';

/** `npm run fuzz` sets these. */
const { PQV_FUZZ_COUNT: count = '500', PQV_FUZZ_SEED: seed = '1', PQV_FUZZ_ONLY: only } = process.env;

/** What an image that can't be decoded is told by: the loader leaves it out and names it. */
const plainErrors: ReadonlySet<string> = new Set(['image']);

/** What an input may take beside twice its own size. */
const allowedBytes = 256 * 2 ** 20;

/** The most memory that this process ever had: it jumps where one input takes much. */
const peakBytes = (): number => process.resourceUsage().maxRSS * 1024;

describe.each(Object.entries(kinds).filter(([name]) => !only || name === only))(
  'broken input: %s',
  (name, kind) => {
    it(
      `ends in a result or in what users are told, ${count} times`,
      async () => {
        const wrong: string[] = [];
        for (let i = 0; i < Number(count) && wrong.length < 10; i++) {
          const bytes = await kind.make(new Random(Number(seed), i));
          const [start, memory] = [performance.now(), peakBytes()];
          try {
            await kind.use(bytes);
          } catch (error) {
            const told = error instanceof UserError || error instanceof InterruptedError;
            const plain = plainErrors.has(name) && (error as Error).constructor === Error;
            if (!told && !plain)
              wrong.push(`${i}: ${(error as Error).stack?.split('\n').slice(0, 4).join(' | ')}`);
            else if (printable((error as Error).message) === '') wrong.push(`${i}: says nothing`);
          }
          const seconds = (performance.now() - start) / 1000;
          const taken = peakBytes() - memory;
          if (taken > 2 * bytes.length + allowedBytes) {
            wrong.push(`${i}: takes ${(taken / 2 ** 20).toFixed(0)} MiB for ${bytes.length} bytes`);
          }
          if (process.env.PQV_FUZZ_COUNT && seconds > 2) wrong.push(`${i}: takes ${seconds.toFixed(1)} s`);
        }
        expect(wrong).toEqual([]);
      },
      Math.max(60_000, Number(count) * 200),
    );
  },
);
