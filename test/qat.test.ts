import { beforeAll, expect, it } from 'vitest';
import { loadModel } from '../src/zoo/load.node.ts';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();
const training = ['--data', 'mnist', '--epochs', '1', '--limit', '128', '--batch-size', '32'];
const numbers = ['--scheme', 'static', '--backend', 'qnnpack', '--weights', 'torch', '--samples', '16'];

beforeAll(async () => {
  const made = await pqv('init', tinyArgs[0]!, ...tinyArgs.slice(1), '-o', at('model'));
  expect(made).toMatchObject({ code: 0 });
});

it('finetune --qat calibrates, trains for the numbers that quantize makes, and writes a float32 model', async () => {
  const tuned = await pqv('finetune', at('model'), '-o', at('tuned'), ...training, '--qat', ...numbers);
  expect(tuned).toMatchObject({ code: 0, stderr: expect.not.stringContaining('no effect') });
  const { history, parameters } = JSON.parse((await pqv('inspect', at('tuned'), '--json')).stdout);
  expect(history.at(-1)).toMatch(/^finetuned: 1 epochs, lr 0.0003, for int8 static, qnnpack$/);
  expect(parameters).toBe(JSON.parse((await pqv('inspect', at('model'), '--json')).stdout).parameters);
  const [before, after] = await Promise.all([loadModel(at('model')), loadModel(at('tuned'))]);
  expect(after.nodes.map(({ op }) => op)).toEqual(before.nodes.map(({ op }) => op));
  const data = ['--data', 'mnist'];
  expect(await pqv('quantize', at('tuned'), '-o', at('int8'), ...numbers, ...data)).toMatchObject({
    code: 0,
  });
});

it('numbers without --qat, and ranges without --scheme static, are said to have no effect', async () => {
  const plain = await pqv('finetune', at('model'), '-o', at('plain'), ...training, ...numbers);
  for (const name of ['scheme', 'backend', 'weights', 'samples']) {
    expect(plain.stderr).toContain(`--${name} has no effect: it goes with --qat`);
  }
  const ranges = ['--qat', '--observer', 'minmax'];
  const dynamic = await pqv('finetune', at('model'), '-o', at('dynamic'), ...training, ...ranges);
  expect(dynamic).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('--observer has no effect: it goes with --scheme static'),
  });
});

it('an int8 model is not trained for int8 again', async () => {
  await pqv('quantize', at('model'), '-o', at('whole'));
  const again = await pqv('finetune', at('whole'), '-o', at('again'), ...training, '--qat');
  expect(again).toMatchObject({ code: 2, stderr: expect.stringMatching(/already quantized \(int8\)/) });
});
