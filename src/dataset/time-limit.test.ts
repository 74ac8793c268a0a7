import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { withinTime } from './time-limit.ts';

const seconds = 0.05;

/** Fails at once or late, attempt after attempt, then succeeds; says how often it was called. */
function attempts(...failures: ('at once' | 'late')[]) {
  const made = { count: 0 };
  const attempt = async () => {
    const failure = failures[made.count++];
    if (failure === 'late') await sleep(2000 * seconds);
    if (failure) throw new Error(failure);
    return 'done';
  };
  return { made, attempt };
}

it.each([
  [[], 'done', 1],
  [['late'], 'done', 2],
  [['at once'], 'at once', 1],
  [['late', 'at once'], 'at once', 2],
  [['late', 'late'], 'it takes longer than 0.05 s', 2],
] as const)('failing %j it gives "%s" after %i attempts', async (failures, result, count) => {
  const { made, attempt } = attempts(...failures);
  expect(await withinTime(seconds, attempt).catch(({ message }) => message)).toBe(result);
  expect(made.count).toBe(count);
});
