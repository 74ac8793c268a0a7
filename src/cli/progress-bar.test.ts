import { describe, expect, it } from 'vitest';
import { formatDuration, terminalProgress } from './progress-bar.ts';

function recorder(isTTY: boolean) {
  const written: string[] = [];
  let time = 0;
  const stream = {
    isTTY,
    columns: 100,
    write(text: string | Uint8Array) {
      written.push(text.toString());
      return true;
    },
  };
  return {
    progress: terminalProgress({ stream, now: () => time }),
    text: () => written.join(''),
    pass: (milliseconds: number) => {
      time += milliseconds;
    },
  };
}

describe('without a terminal', () => {
  it('says a line every ten seconds with rate, time left and figures, and one at the end', () => {
    const { progress, text, pass } = recorder(false);
    const task = progress.task('finetune', 1000, 'images');
    for (let done = 20; done <= 240; done += 20) {
      pass(1000);
      task.update(done, { loss: '0.500' });
    }
    task.done();
    expect(text()).toBe(
      'finetune: 200/1000 images, 20.0 images/s, 40 s left, loss 0.500\n' +
        'finetune: 240 images in 12 s, loss 0.500\n',
    );
  });

  it('is silent about short tasks and ends a task once', () => {
    const { progress, text, pass } = recorder(false);
    const task = progress.task('count', 5, 'nodes');
    pass(500);
    task.update(5);
    task.done();
    pass(5000);
    task.done();
    task.update(5);
    expect(text()).toBe('');
  });

  it('leaves out of the rate what a resumed task had already done', () => {
    const { progress, text, pass } = recorder(false);
    const task = progress.task('finetune', 100, 'steps');
    pass(1);
    task.update(80);
    pass(10_000);
    task.update(90);
    expect(text()).toBe('finetune: 90/100 steps, 1.0 steps/s, 10 s left\n');
  });

  it('gives the time of one unit when that is more than a second', () => {
    const { progress, text, pass } = recorder(false);
    const task = progress.task('hessian', 10, 'batches');
    task.update(1);
    pass(12_000);
    task.update(4);
    expect(text()).toBe('hessian: 4/10 batches, 4.0 s each, 24 s left\n');
  });
});

describe('on a terminal', () => {
  it('draws a bar, prints notes as whole lines above it and leaves a summary', () => {
    const { progress, text, pass } = recorder(true);
    const task = progress.task('evaluate', 200, 'images');
    task.update(0);
    pass(2000);
    task.update(100, { 'top-1': '97.0 %' });
    progress.note('skipped cat/7.png: damaged');
    task.done();
    const drawn = text();
    expect(drawn).toContain('skipped cat/7.png: damaged\n');
    expect(drawn).toMatch(
      /evaluate ━{12}─{12} {2}50% {2}100\/200 images, 50\.0 images\/s, 2\.0 s left, top-1 97\.0 %/,
    );
    expect(drawn.endsWith('evaluate: 100 images in 2.0 s, top-1 97.0 %\n')).toBe(true);
  });

  it('never draws wider than the terminal', () => {
    const { progress, text } = recorder(true);
    const task = progress.task('x'.repeat(200), 10, 'images');
    task.update(5);
    progress.note('look');
    task.done();
    expect(text()).not.toContain('x'.repeat(100));
  });

  it('prints notes plainly while nothing runs', () => {
    const { progress, text } = recorder(true);
    progress.note('resumed stage dense');
    expect(text()).toBe('resumed stage dense\n');
  });
});

it('writes durations as people say them', () => {
  expect([400, 12_300, 185_000, 8_040_000].map(formatDuration)).toEqual([
    '0.4 s',
    '12 s',
    '3 min 05 s',
    '2 h 14 min',
  ]);
});
