import { mkdirSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { pqvIn, scratch } from './command.ts';

const at = scratch();
const model = fileURLToPath(new URL('../examples/mnist_vit', import.meta.url));

/** An environment whose home is empty: whatever a program keeps for itself would appear there. */
function homeless(home: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(XDG_|ORT_|HOME$|USERPROFILE$)/.test(name));
  return { ...Object.fromEntries(kept), HOME: home, USERPROFILE: home };
}

it('the engine keeps and sends nothing: an empty home stays empty', async () => {
  const home = at('home');
  mkdirSync(home, { recursive: true });
  const run = async (...args: string[]) => {
    const { code, stderr } = await pqvIn(homeless(home), ...args, '--quiet');
    expect([stderr, code]).toEqual(['', 0]);
  };
  await run('eval', model, '--data', 'mnist', '--samples', '20');
  await run('export', model, '--format', 'ort', '-o', at('model.ort'));
  await run('bench', model, '--runs', '3');
  await run('quantize', model, '-o', at('int8'), '--dtype', 'int8');
  await run('compare', model, at('int8'), '--samples', '4');
  expect(readdirSync(home, { recursive: true })).toEqual([]);
});
