// npm run fuzz -- [--count 20000] [--seed N] [--only KIND]: broken input of every kind, or one. A failure names the
// number of the input, which with the seed makes it again.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    only: { type: 'string' },
  },
});
console.log(`seed ${values.seed}, ${values.count} of ${values.only ?? 'each kind'}`);
const { status } = spawnSync('npx', ['vitest', 'run', 'test/fuzz.test.ts'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    PQV_FUZZ_COUNT: values.count,
    PQV_FUZZ_SEED: values.seed,
    ...(values.only ? { PQV_FUZZ_ONLY: values.only } : {}),
  },
});
process.exit(status ?? 1);
