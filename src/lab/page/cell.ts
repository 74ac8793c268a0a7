/**
 * One cell: a variant by a runner, in a worker of its own, so that a runtime's settings, its memory and its crashes are the
 * cell's alone.
 */
import { quantile } from '../../measure/quantile.ts';
import { inputOf } from '../model-input.ts';
import type { ShownVariant } from '../protocol.ts';
import type { Runner } from '../runners.ts';
import { textOfFloats, tilesOf } from '../text.ts';
import { openLiteRt } from './litert.ts';
import { watchMemory } from './memory.ts';
import { openOnnxRuntime } from './onnxruntime.ts';
import type { Opened, OpenRuntime } from './runtime.ts';

export interface Job {
  readonly model: ArrayBuffer;
  readonly variant: ShownVariant;
  readonly runner: Pick<Runner, 'runtime' | 'accelerator'>;
  readonly threads: number;
  readonly runs: number;
  readonly warmup: number;
  /** Milliseconds that warm-up, and timing, may take each. */
  readonly budget: number;
  /** Address of the lab, with a slash at the end. */
  readonly base: string;
  /** Measure; or run every input that is sent from then on, and answer each with its outputs. */
  readonly purpose: 'measure' | 'serve';
}

export interface CellResult {
  readonly version: string;
  readonly threads: number;
  readonly load: number;
  readonly first: number;
  readonly median: number;
  readonly p95: number;
  readonly runs: number;
  readonly warmup: number;
  readonly delegated?: boolean;
  readonly memory?: number;
  readonly outputs: readonly string[];
}

/** What a cell is at, for people. */
export type Phase = 'loading the file' | 'first image' | 'images to compare' | 'warming up' | 'timing';

/** What a cell says, in this order. */
export type CellMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'progress'; readonly phase: Phase; readonly done: number; readonly of: number }
  | { readonly type: 'measured'; readonly result: CellResult }
  | { readonly type: 'outputs'; readonly outputs: Float32Array }
  | { readonly type: 'failed'; readonly reason: string };

const runtimes: Record<Runner['runtime'], { open: OpenRuntime; files: string }> = {
  'onnxruntime-web': { open: openOnnxRuntime, files: 'ort/' },
  '@litertjs/core': { open: openLiteRt, files: 'litert/' },
};

/** Fewer are no measurement, however long they take. */
const leastRuns = 3;

function opened({ model, variant, runner, threads, base }: Job): Promise<Opened> {
  const { open, files } = runtimes[runner.runtime];
  const { accelerator } = runner;
  return open({ model: new Uint8Array(model), variant, accelerator, threads, files: `${base}${files}` });
}

async function measure(job: Job): Promise<CellResult> {
  const memory = watchMemory();
  const of = job.warmup + job.runs;
  const at = (phase: Phase, done: number) => say({ type: 'progress', phase, done, of });
  at('loading the file', 0);
  const began = performance.now();
  const model = await opened(job);
  const load = performance.now() - began;
  const inputs = job.variant.samples.map((sample) => inputOf(job.variant.input, tilesOf(sample)));
  const timed = async (i: number) => {
    const start = performance.now();
    const found = await model.run(inputs[i % inputs.length]!);
    return { found, milliseconds: performance.now() - start };
  };
  const outputs: Float32Array[] = [];
  let first = 0;
  for (const i of inputs.keys()) {
    at(i === 0 ? 'first image' : 'images to compare', i);
    const { found, milliseconds } = await timed(i);
    if (i === 0) first = milliseconds;
    outputs.push(found);
  }
  let warmup = inputs.length;
  for (const end = performance.now() + job.budget; warmup < job.warmup && performance.now() < end; warmup++) {
    at('warming up', warmup);
    await timed(warmup);
  }
  const times: number[] = [];
  const end = performance.now() + job.budget;
  while (times.length < job.runs && (times.length < leastRuns || performance.now() < end)) {
    if (times.length % 5 === 0) at('timing', job.warmup + times.length);
    times.push((await timed(times.length)).milliseconds);
  }
  const bytes = memory();
  return {
    version: model.version,
    threads: model.threads,
    load,
    first,
    median: quantile(times, 0.5),
    p95: quantile(times, 0.95),
    runs: times.length,
    warmup,
    ...(model.delegated === undefined ? {} : { delegated: model.delegated }),
    ...(bytes === undefined ? {} : { memory: bytes }),
    outputs: outputs.map(textOfFloats),
  };
}

const say = (message: CellMessage) => self.postMessage(message);

const failure = (error: unknown): CellMessage => ({
  type: 'failed',
  reason: String(error instanceof Error ? error.message : error).slice(0, 400),
});

async function serve(job: Job): Promise<void> {
  const model = await opened(job);
  self.onmessage = ({ data }: MessageEvent<Float32Array | Uint8Array>) => {
    model.run(data).then(
      (outputs) => say({ type: 'outputs', outputs }),
      (error) => say(failure(error)),
    );
  };
  say({ type: 'ready' });
}

self.onmessage = async ({ data }: MessageEvent<Job>) => {
  try {
    if (data.purpose === 'serve') await serve(data);
    else say({ type: 'measured', result: await measure(data) });
  } catch (error) {
    say(failure(error));
  }
};
say({ type: 'ready' });
