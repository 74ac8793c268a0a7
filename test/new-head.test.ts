import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();

it('a model of other classes is finetuned with a new head, and knows the new classes', async () => {
  const [arch, ...rest] = tinyArgs;
  expect(await pqv('init', arch!, ...rest, '--num-classes', '4', '-o', at('model'))).toMatchObject({
    code: 0,
  });
  const training = ['--data', 'mnist', '--epochs', '1', '--limit', '64', '--batch-size', '32'];
  const without = await pqv('finetune', at('model'), '-o', at('without'), ...training);
  expect(without).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/mnist has 10 classes and the model 4.*--new-head starts a head/),
  });
  const tuned = await pqv('finetune', at('model'), '-o', at('tuned'), ...training, '--new-head');
  expect(tuned).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(
      'a new head for the 10 classes of mnist in place of that for 4: head.weight, head.bias start anew',
    ),
  });
  expect(JSON.parse(readFileSync(at('tuned', 'config.json'), 'utf8'))).toMatchObject({ num_classes: 10 });
  const measured = await pqv('eval', at('tuned'), '--data', 'mnist', '--samples', '20', '--json');
  expect(JSON.parse(measured.stdout).samples).toBe(20);
});
