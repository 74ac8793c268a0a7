/** Times graphs side by side in one onnxruntime-web, in a worker; each message is a task. */
import type * as OnnxRuntime from 'onnxruntime-web';
import { settled } from '../../measure/latency-sweep.ts';
import type { TimingTask } from '../device-timer.ts';

export interface TimingJob {
  readonly task: TimingTask;
  readonly models: readonly ArrayBuffer[];
  readonly threads: number;
  readonly base: string;
}

export type TimingMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'timed'; readonly times: number[][]; readonly engine: string; readonly threads: number }
  | { readonly type: 'failed'; readonly reason: string };

/** Runs before the first timed one. */
const warmup = 5;
/** Milliseconds that one timing should last at least: clocks of browsers are coarse. */
const leastTiming = 4;

interface Timed {
  run(): Promise<void>;
  repeats: number;
}

async function opened(ort: typeof OnnxRuntime, { task, models }: TimingJob): Promise<Timed[]> {
  const all: Timed[] = [];
  for (const [i, bytes] of models.entries()) {
    const session = await ort.InferenceSession.create(new Uint8Array(bytes), {
      executionProviders: ['wasm'],
    });
    const feeds: Record<string, OnnxRuntime.Tensor> = {};
    for (const { name, shape } of task.graphs[i]!.inputs) {
      const length = shape.reduce((product, one) => product * one, 1);
      const values = Float32Array.from({ length }, () => 2 * Math.random() - 1);
      feeds[name] = new ort.Tensor('float32', values, shape);
    }
    const run = async () => {
      const found = await session.run(feeds);
      for (const output of Object.values(found)) output.dispose();
    };
    for (let round = 0; round < warmup; round++) await run();
    const start = performance.now();
    for (let round = 0; round < warmup; round++) await run();
    const each = (performance.now() - start) / warmup;
    all.push({ run, repeats: Math.max(1, Math.ceil(leastTiming / Math.max(each, 0.01))) });
  }
  return all;
}

async function timed(job: TimingJob): Promise<TimingMessage> {
  const ort: typeof OnnxRuntime = await import(`${job.base}ort/ort.wasm.min.mjs`);
  const loader = `${job.base}ort/ort-wasm-simd-threaded`;
  ort.env.wasm.numThreads = job.threads;
  ort.env.wasm.wasmPaths = { mjs: `${loader}.mjs`, wasm: `${loader}.wasm` };
  const graphs = await opened(ort, job);
  const times: number[][] = graphs.map(() => []);
  const { rounds } = job.task;
  for (let round = 0; round < rounds || (round < 3 * rounds && !settled(times)); round++) {
    for (let turn = 0; turn < graphs.length; turn++) {
      const i = (round + turn) % graphs.length;
      const { run, repeats } = graphs[i]!;
      await run();
      const start = performance.now();
      for (let repeat = 0; repeat < repeats; repeat++) await run();
      times[i]!.push((performance.now() - start) / repeats);
    }
  }
  const engine = `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common}`;
  return { type: 'timed', times, engine, threads: ort.env.wasm.numThreads! };
}

const say = (message: TimingMessage) => self.postMessage(message);

self.onmessage = async ({ data }: MessageEvent<TimingJob>) => {
  try {
    say(await timed(data));
  } catch (error) {
    say({ type: 'failed', reason: String(error instanceof Error ? error.message : error).slice(0, 400) });
  }
};
say({ type: 'ready' });
