import { base, LabError, model, next } from './client.ts';
import type { TimingJob, TimingMessage } from './timing-worker.ts';

/** Times one task in a worker of its own, so that its memory is free again behind it. */
function timed(job: TimingJob): Promise<Extract<TimingMessage, { type: 'timed' }>> {
  const worker = new Worker(`${base}timing.js`);
  return new Promise<Extract<TimingMessage, { type: 'timed' }>>((resolve, reject) => {
    worker.onerror = ({ message }) => reject(new Error(message || 'the runtime could not be started'));
    worker.onmessage = ({ data }: MessageEvent<TimingMessage>) => {
      if (data.type === 'ready') worker.postMessage(job, [...job.models]);
      else if (data.type === 'timed') resolve(data);
      else reject(new Error(data.reason));
    };
  }).finally(() => worker.terminate());
}

/**
 * Times what the lab hands out, until there is no more.
 * @param progress told how many graphs have been timed
 * @throws LabError when the lab has no use for this device, or this device can't
 */
export async function timeAll(
  device: string,
  threads: number,
  progress: (graphs: number) => void,
): Promise<void> {
  let result: unknown;
  for (let done = 0; ; ) {
    const task = await next({ device, ...(result ? { result } : {}) });
    result = undefined;
    if (task === 'done') return;
    if (task === 'wait') continue;
    try {
      const models: ArrayBuffer[] = [];
      for (const { path } of task.graphs) models.push(await model(path, () => {}));
      const { times, engine, threads: taken } = await timed({ task, models, threads, base });
      result = { id: task.id, times, engine, threads: taken };
    } catch (error) {
      await next({ device, failed: (error as Error).message.slice(0, 400) });
      throw new LabError(`This device could not: ${(error as Error).message}`);
    }
    done += task.graphs.length;
    progress(done);
  }
}
