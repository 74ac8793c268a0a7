import { beforeAll, expect, it } from 'vitest';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();
const [arch, ...rest] = tinyArgs;
const data = ['--data', 'mnist', '--samples', '16'];

beforeAll(async () => {
  const made = await pqv('init', arch, ...rest, '--num-classes', '0', '-o', at('model'));
  expect(made).toMatchObject({ code: 0 });
});

it('a model of features goes the whole way on images whose classes do not matter', async () => {
  const taylor = ['--ratio', '0.25', '--importance', 'taylor', ...data];
  const pruned = await pqv('prune', at('model'), '-o', at('pruned'), ...taylor);
  expect(pruned).toMatchObject({ code: 0, stderr: expect.stringMatching(/no classifier: importance is by/) });

  const training = ['--data', 'mnist', '--epochs', '6', '--limit', '1024', '--batch-size', '32', '--json'];
  const tuned = await pqv('finetune', at('pruned'), '-o', at('tuned'), '--teacher', at('model'), ...training);
  expect(tuned).toMatchObject({ code: 0 });
  expect(JSON.parse(tuned.stdout).top1).toBeNull();

  const distance = async (model: string) =>
    JSON.parse((await pqv('compare', at('model'), at(model), ...data, '--json')).stdout);
  const [before, after] = [await distance('pruned'), await distance('tuned')];
  expect(before.agreement).toBeNull();
  expect(before.outputs).toHaveLength(1);
  expect(after.relative).toBeLessThan(before.relative);

  const quantized = await pqv('quantize', at('tuned'), '-o', at('int8'), '--scheme', 'static', ...data);
  expect(quantized).toMatchObject({ code: 0 });
  expect((await pqv('compare', at('tuned'), at('int8'))).stdout).not.toMatch(/prediction/);
});

it('says what a preset sets, and that one to learn from a teacher has none', async () => {
  const preset = ['--data', 'mnist', '--preset', 'distill', '--epochs', '1'];
  const alone = await pqv('finetune', at('model'), '-o', at('alone'), ...preset);
  expect(alone).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(
      /preset distill sets distill 0.9[\s\S]*preset distill learns from a teacher: give/,
    ),
  });
});

it('says what a model of features needs', async () => {
  const alone = await pqv('finetune', at('model'), '-o', at('alone'), '--data', 'mnist', '--epochs', '1');
  expect(alone).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/distill learns from a teacher: give/),
  });
  const labels = ['--data', 'mnist', '--epochs', '1', '--task', 'classify'];
  const wrong = await pqv('finetune', at('model'), '-o', at('wrong'), ...labels);
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/no classifier to train on labels/) });
});
