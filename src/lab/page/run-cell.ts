import type { CellMessage, CellResult, Job, Phase } from './cell.ts';
import { base } from './client.ts';

/** What a cell is at: a share of its runs, in words, and for how many seconds so far. */
export type CellProgress = (at: { share: number; phase: Phase; seconds: number }) => void;

/**
 * Measures one cell in a worker of its own. What it is at is told whenever that changes, and every second.
 * @param limit milliseconds that it may take
 * @throws Error with what the runtime said, or what it was at when its time was over
 */
export function runCell(
  job: Omit<Job, 'base' | 'purpose'>,
  limit: number,
  progress: CellProgress,
): Promise<CellResult> {
  const worker = new Worker(`${base}cell.js`);
  const began = performance.now();
  let at: { share: number; phase: Phase } = { share: 0, phase: 'loading the file' };
  const tell = () => progress({ ...at, seconds: Math.floor((performance.now() - began) / 1000) });
  const clock = window.setInterval(tell, 1000);
  let timer = 0;
  return new Promise<CellResult>((resolve, reject) => {
    const late = () => reject(new Error(`no answer after ${limit / 1000} s (${at.phase}): left out`));
    timer = window.setTimeout(late, limit);
    worker.onerror = ({ message }) => reject(new Error(message || 'the runtime could not be started'));
    worker.onmessage = ({ data }: MessageEvent<CellMessage>) => {
      if (data.type === 'ready')
        worker.postMessage({ ...job, base, purpose: 'measure' } satisfies Job, [job.model]);
      else if (data.type === 'progress') {
        at = { share: data.done / data.of, phase: data.phase };
        tell();
      } else if (data.type === 'measured') resolve(data.result);
      else if (data.type === 'failed') reject(new Error(data.reason));
    };
  }).finally(() => {
    clearTimeout(timer);
    clearInterval(clock);
    worker.terminate();
  });
}
