import type { CellMessage, CellResult, Job } from './cell.ts';
import { base } from './client.ts';

/** A cell that says nothing for so long, in milliseconds, is given up. */
const patience = 600_000;

/**
 * Measures one cell in a worker of its own.
 * @throws Error with what the runtime said
 */
export function runCell(
  job: Omit<Job, 'base' | 'purpose'>,
  progress: (share: number) => void,
): Promise<CellResult> {
  const worker = new Worker(`${base}cell.js`);
  let timer = 0;
  return new Promise<CellResult>((resolve, reject) => {
    const wait = () => {
      clearTimeout(timer);
      timer = window.setTimeout(
        () => reject(new Error(`no answer for ${patience / 60_000} minutes`)),
        patience,
      );
    };
    wait();
    worker.onerror = ({ message }) => reject(new Error(message || 'the runtime could not be started'));
    worker.onmessage = ({ data }: MessageEvent<CellMessage>) => {
      wait();
      if (data.type === 'ready')
        worker.postMessage({ ...job, base, purpose: 'measure' } satisfies Job, [job.model]);
      else if (data.type === 'progress') progress(data.done / data.of);
      else if (data.type === 'measured') resolve(data.result);
      else if (data.type === 'failed') reject(new Error(data.reason));
    };
  }).finally(() => {
    clearTimeout(timer);
    worker.terminate();
  });
}
