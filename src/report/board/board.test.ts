import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { History } from '../../train/checkpoint.ts';
import { Board } from './server.node.ts';

let board: Board;
beforeEach(async () => {
  board = await Board.open(0);
});
afterEach(() => board.close());

/** A training under way: two steps, one epoch. */
function train(name = 'vit_small'): History {
  const history: History = { steps: [], epochs: [] };
  board.begin({ name, epochs: 3, totalSteps: 6, imagesAStep: 8, history });
  for (const step of [1, 2]) {
    history.steps.push({ step, epoch: 1, loss: 2.5 / step, lr: 1e-3, gradNorm: 1 });
    board.step(history.steps.at(-1)!);
  }
  history.epochs.push({ epoch: 1, loss: 2, trainTop1: 0.5, top1: 0.625 });
  board.epoch(history.epochs[0]!);
  return history;
}

const page = async () => (await fetch(board.address)).text();

describe('the board', () => {
  it('shows how a training stands', async () => {
    expect(await page()).toContain('Nothing is being trained yet');
    train();
    const text = await page();
    for (const part of [
      'vit_small',
      'Training: epoch 2 of 3',
      '1.2500',
      '62.50 %',
      'training 50.00 %',
      'step 2 of 6',
    ]) {
      expect(text).toContain(part);
    }
    expect(text.match(/<svg/g)).toHaveLength(6);
    board.end();
    expect(await page()).toContain('Trained: epoch 1 of 3');
  });

  it('is told of what changes, until it closes', async () => {
    train();
    const response = await fetch(new URL('events', board.address));
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const first = await reader.read();
    expect(JSON.parse(first.value!.slice('data: '.length))).toContain('epoch 2 of 3');
    board.end();
    await board.close();
    let rest = '';
    for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
    expect(rest).toContain('Trained');
    expect(rest).toContain('event: end');
    board = await Board.open(0);
  });

  it('escapes names, loads nothing from elsewhere, and answers to no other name', async () => {
    train('<img src=x onerror=alert(1)>');
    const response = await fetch(board.address);
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    const text = await response.text();
    expect(text).not.toContain('<img');
    expect(text.replaceAll('http://www.w3.org', '')).not.toMatch(/https?:\/\//);
    expect((await fetch(new URL('../../etc/passwd', board.address))).status).toBe(404);
    expect((await fetch(board.address, { method: 'POST' })).status).toBe(403);
    const status = await new Promise((resolve) => {
      request(board.address, { headers: { host: 'evil.example' } }, (answer) =>
        resolve(answer.statusCode),
      ).end();
    });
    expect(status).toBe(403);
  });

  it('says when its port is taken', async () => {
    const port = Number(new URL(board.address).port);
    await expect(Board.open(port)).rejects.toThrow(`can't serve the board at port ${port}: it is taken`);
  });
});
