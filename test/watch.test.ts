import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { pqv, pqvInterruptible, scratch } from './command.ts';

const at = scratch();
const training = (output: string, ...more: string[]) => [
  ...['finetune', 'examples/mnist_vit', '-o', at(output), '--data', 'mnist', '--epochs', '1'],
  ...['--limit', '640', '--batch-size', '32', '--threads', '1', ...more],
];

describe('following a training', () => {
  it('serves a page while it goes on, and writes what TensorBoard reads', async () => {
    const run = pqvInterruptible(training('followed', '--board', '--tensorboard', at('events')));
    let page = '';
    for (let tries = 0; tries < 600 && !page.includes('Training: epoch 1 of 1'); tries++) {
      const address = /board: (http:\/\/127\.0\.0\.1:\d+\/)/.exec(run.output())?.[1];
      if (address)
        page = await fetch(address).then(
          (response) => response.text(),
          () => page,
        );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(page).toContain('Training: epoch 1 of 1');
    const { code } = await run.finished;
    expect(code).toBe(0);
    const [file] = readdirSync(at('events'));
    const text = readFileSync(at('events', file!), 'latin1');
    for (const tag of ['train/loss', 'train/lr', 'epoch/train_top1']) expect(text).toContain(tag);
    expect(text.match(/train\/loss/g)).toHaveLength(20);
  });

  it('is refused in one line where the port is taken', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const { code, stderr } = await pqv(...training('refused', '--board', `${port}`));
    server.close();
    expect(code).toBe(2);
    expect(stderr).toMatch(/^pqv: error: can't serve the board at port \d+: it is taken.*\n$/);
  });
});
