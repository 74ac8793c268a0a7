import type { ReportDeviceCell } from '../../report/schema.ts';

/** What a tool told of its runs, milliseconds. */
export type ToolFigures = Pick<
  ReportDeviceCell,
  'latencyMs' | 'averaged' | 'firstMs' | 'loadMs' | 'warmup' | 'delegated'
>;

/** How long and on what a tool is to measure. */
export interface ToolRun {
  /** On the device. */
  readonly program: string;
  readonly model: string;
  readonly threads: number;
  readonly runs: number;
  readonly warmup: number;
  /** Seconds that the timed runs may take, where the tool knows such a limit. */
  readonly seconds: number;
}

/** A program that times a file on an Android device. */
export interface Tool {
  /** As it is called on the device. */
  readonly program: string;
  /** For people. */
  readonly title: string;
  /** Of the files that it loads. */
  readonly format: 'onnx' | 'tflite';
  /** The option that names one on this machine. */
  readonly option: string;
  /** The words of its command line. */
  command(run: ToolRun): string[];
  /** What it printed; nothing where there are no figures in it. */
  read(output: string): ToolFigures | undefined;
  /** The words that have it compute one input and write the output; tools without it are believed. */
  check?(run: Pick<ToolRun, 'program' | 'model'>, files: CheckFiles): string[];
}

/** Files on the device. */
export interface CheckFiles {
  readonly input: string;
  readonly output: string;
  readonly shape: readonly number[];
}

/** Where a number stands, in a tool's words. */
const numberAfter = (text: string, words: RegExp): number | undefined => {
  const found = words.exec(text)?.[1];
  const value = found === undefined ? Number.NaN : Number(found);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
};

const number = String.raw`([\d.]+(?:e[+-]?\d+)?)`;

/**
 * LiteRT's (`tflite/tools/benchmark`). It tells statistics twice, of the untimed runs and of the timed ones, in microseconds:
 * `count=50 first=1 curr=1 min=1 max=1 avg=1 std=0`, in newer builds `p5=1 median=1 p95=1` too; `count=2 curr=1(all same)` where
 * all took as long.
 */
const benchmarkModel: Tool = {
  program: 'benchmark_model',
  title: 'LiteRT',
  format: 'tflite',
  option: '--adb-benchmark-model',
  command: ({ program, model, threads, runs, warmup, seconds }) => [
    program,
    `--graph=${model}`,
    `--num_threads=${threads}`,
    `--num_runs=${runs}`,
    '--min_secs=0',
    `--max_secs=${seconds}`,
    `--warmup_runs=${warmup}`,
    '--warmup_min_secs=0',
    '--use_xnnpack=true',
  ],
  read(output) {
    const rounds = [...output.matchAll(/^.*\bcount=(\d+)(.*)$/gm)];
    const [untimed, timed] = [rounds.at(-2), rounds.at(-1)];
    if (!untimed || !timed) return undefined;
    const field = (name: string) => numberAfter(timed[2]!, new RegExp(` ${name}=${number}`));
    const same = /\(all same\)/.test(timed[2]!) || Number(timed[1]) === 1 ? field('curr') : undefined;
    const median = field('median') ?? same;
    const mean = field('avg');
    const p95 = field('p95') ?? same;
    const runs = Number(timed[1]);
    const typical = median ?? mean;
    if (typical === undefined || runs < 1) return undefined;
    const [load, first] = ['Init', 'First inference'].map((name) =>
      numberAfter(output, new RegExp(`Inference timings in us:.*\\b${name}: ${number}`)),
    );
    return {
      latencyMs: { median: typical / 1000, ...(p95 === undefined ? {} : { p95: p95 / 1000 }), runs },
      ...(median === undefined ? { averaged: true as const } : {}),
      ...(first === undefined ? {} : { firstMs: first / 1000 }),
      ...(load === undefined ? {} : { loadMs: load / 1000 }),
      warmup: Number(untimed[1]),
      ...delegation(output),
    };
  },
  check: ({ program, model }, { input, output, shape }) => [
    program,
    `--graph=${model}`,
    '--num_threads=1',
    '--num_runs=1',
    '--min_secs=0',
    '--warmup_runs=1',
    '--warmup_min_secs=0',
    '--use_xnnpack=true',
    '--input_layer=image',
    `--input_layer_shape=${shape}`,
    `--input_layer_value_files=image:${input}`,
    `--output_filepath=${output}`,
  ],
};

/** Whether XNNPACK took the whole graph, where the build says so. */
function delegation(output: string): { delegated?: boolean } {
  const share = /Replacing (\d+) out of (\d+) node\(s\) with delegate/.exec(output);
  if (share) return { delegated: share[1] === share[2] };
  const told = /model graph will be (completely|partially) executed by the delegate/.exec(output)?.[1];
  return told ? { delegated: told === 'completely' } : {};
}

/** ONNX Runtime's (`onnxruntime/test/perftest`). Its units are in its words; it runs once untimed. */
const perfTest: Tool = {
  program: 'onnxruntime_perf_test',
  title: 'ONNX Runtime',
  format: 'onnx',
  option: '--adb-perf-test',
  command: ({ program, model, threads, runs }) => [
    program,
    ...['-e', 'cpu', '-m', 'times', '-r', `${runs}`, '-x', `${threads}`, '-s', '-I'],
    model,
  ],
  read(output) {
    const seconds = (name: string) =>
      numberAfter(output, new RegExp(`${name} Latency(?:: | is )${number} ?s`));
    const [median, p95] = [seconds('P50'), seconds('P95')];
    const mean = numberAfter(
      output,
      new RegExp(`Average (?:inference )?time cost(?: total)?: ?${number} ms`),
    );
    const runs = numberAfter(output, /Total (?:inference requests|iterations): ?(\d+)/);
    const typical = median === undefined ? mean : median * 1000;
    if (typical === undefined || !runs) return undefined;
    const load = numberAfter(output, new RegExp(`Session creation time cost: ${number} s`));
    const first = numberAfter(output, new RegExp(`First inference time cost: ${number} ms`));
    return {
      latencyMs: { median: typical, ...(p95 === undefined ? {} : { p95: p95 * 1000 }), runs },
      ...(median === undefined ? { averaged: true as const } : {}),
      ...(first === undefined ? {} : { firstMs: first }),
      ...(load === undefined ? {} : { loadMs: load * 1000 }),
      warmup: 1,
    };
  },
};

export const tools: readonly Tool[] = [benchmarkModel, perfTest];
