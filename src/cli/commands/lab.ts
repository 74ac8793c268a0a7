import { type Command, InvalidArgumentError, Option } from 'commander';
import { UserError } from '../../common/errors.ts';
import type { Progress } from '../../common/progress.ts';
import { type EmulatedName, emulations } from '../../lab/emulate.node.ts';
import type { LabResult } from '../../lab/lab.node.ts';
import { runners } from '../../lab/runners.ts';
import type { Serving } from '../../lab/serving.node.ts';
import type { LabListener } from '../../lab/session.ts';
import { type Precision, precisions } from '../../prune/latency-table.ts';
import { formatBytes } from '../../report/format.ts';
import { cellLine, formatLab, resultLine } from '../format-lab.ts';
import {
  type CommonOptions,
  command,
  parse,
  print,
  progressFor,
  warnUnused,
  withCommonOptions,
} from '../options.ts';

interface Options extends CommonOptions {
  lan?: boolean;
  http?: boolean;
  browser?: boolean;
  port: number;
  runs: number;
  warmup: number;
  seconds: number;
  limit?: number;
  runners: string[];
  tflite: boolean;
  emulate?: EmulatedName;
  adb?: boolean;
  adbSerial?: string;
  adbBenchmarkModel?: string;
  adbPerfTest?: string;
  latencyTable?: string;
  precision: Precision;
}

export function labCommand(): Command {
  const about =
    'Let phones and browsers measure the files of a run: serves a page, and gathers what they find.';
  const lab = command('lab', about, [
    'pqv lab runs/mine --lan',
    'pqv lab runs/mine --browser --json',
    'pqv lab runs/mine model.tflite --runs 100',
    'pqv lab runs/mine --emulate cortex-a76',
    'pqv lab runs/mine --adb --adb-benchmark-model ./benchmark_model',
    'pqv lab deit/ --lan --latency-table phone.json',
  ])
    .argument(
      '<runs...>',
      'run directories of pqv optimize; single .onnx and .tflite files; with --latency-table a model',
    )
    .option('--lan', 'let other devices in, not only browsers of this machine')
    .option(
      '--http',
      'with --lan: plain HTTP, of which no browser warns; it gives a page there one thread and no WebGPU',
    )
    .option('--browser', 'measure in a headless Chromium of this machine, and end')
    .option('--port <n>', 'port to serve at; 0: any that is free', parse.integer(0, 65535), 0)
    .option('--runs <n>', 'timed runs of each file in each runtime at most', parse.integer(3, 100_000), 50)
    .option('--warmup <n>', 'runs before timing starts', parse.integer(1, 10_000), 15)
    .option('--seconds <n>', 'how long the timed runs may take, and those before', parse.integer(1, 3600), 20)
    .option(
      '--limit <n>',
      'seconds that a measurement may take in all, past which it is left out (default: twice --seconds, and four minutes)',
      parse.integer(1, 36_000),
    )
    .addOption(
      new Option('--runners <list>', `ways to run the files: ${runners.map(({ id }) => id).join(', ')}`)
        .argParser(runnerList)
        .default([], 'all'),
    )
    .option('--no-tflite', 'only files that are there: write no .tflite files of stages that have none')
    .addOption(
      new Option(
        '--emulate <cpu>',
        'what the .onnx files compute on another processor, by qemu; results only, its times mean nothing',
      ).choices(Object.keys(emulations)),
    )
    .option(
      '--adb',
      'measure natively on an Android device connected by adb, with the tools of LiteRT (benchmark_model) and ONNX Runtime (onnxruntime_perf_test)',
    )
    .option('--adb-serial <serial>', 'with --adb: which device, where there are several')
    .option(
      '--adb-benchmark-model <file>',
      "with --adb: LiteRT's benchmark_model for the device; default: the one in its /data/local/tmp",
    )
    .option(
      '--adb-perf-test <file>',
      'with --adb: onnxruntime_perf_test for the device; default: the one in its /data/local/tmp',
    )
    .option(
      '--latency-table <file>',
      'have one device time the pieces of a model, for pqv prune --latency-table; a table that is there is added to',
    )
    .addOption(
      new Option('--precision <name>', 'with --latency-table: of the model that ships')
        .choices(precisions)
        .default('int8'),
    );
  return withCommonOptions(lab).action(async (sources: string[], options: Options) => {
    warnUnused(lab, {
      http: !options.lan && '--lan',
      precision: options.latencyTable === undefined && '--latency-table',
      adbSerial: !options.adb && '--adb',
      adbBenchmarkModel: !options.adb && '--adb',
      adbPerfTest: !options.adb && '--adb',
    });
    const progress = await progressFor(options);
    const { qrCode } = await import('../../lab/qr-code.ts');
    const at = serving(options, progress, qrCode);
    if (options.latencyTable !== undefined)
      return table(sources, options.latencyTable, options, progress, at);
    const { emulateLab, nativeLab, runLab } = await import('../../lab/lab.node.ts');
    if (options.emulate) {
      const result = await emulateLab(sources, options.emulate, { progress, signal: at.signal });
      return print(options, result, () => labText(result));
    }
    if (options.adb) {
      const { adbSerial: serial, adbBenchmarkModel, adbPerfTest, runs, warmup, seconds, tflite } = options;
      const result = await nativeLab(sources, {
        ...{ serial, runs, warmup, seconds, tflite, progress, signal: at.signal },
        programs: { '--adb-benchmark-model': adbBenchmarkModel, '--adb-perf-test': adbPerfTest },
        cell: (...ended) => progress.note(resultLine(...ended)),
      });
      for (const line of result.leftOut) progress.note(`left out: ${line}`);
      return print(options, result, () => labText(result));
    }
    const result = await runLab(sources, {
      ...options,
      ...at,
      progress,
      opened({ addresses, variants, leftOut }) {
        for (const line of leftOut) progress.note(`left out: ${line}`);
        for (const { title, file, bytes } of variants)
          progress.note(`${title}: ${file}, ${formatBytes(bytes)}`);
        at.opened(addresses);
      },
      listener: listener(progress),
    });
    print(options, result, () => labText(result));
  });
}

const labText = ({ devices, reports }: LabResult): string => [formatLab(devices), ...reports].join('\n\n');

/** Where it is served, until Ctrl-C; the second one ends it at once. */
function serving(options: Options, progress: Progress, qrCode: (text: string) => string): Serving {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  const { signal } = controller;
  const { lan = false, http = false, browser, port, runners: wanted } = options;
  return {
    port,
    lan,
    http,
    signal,
    opened(addresses) {
      if (browser) return;
      if (lan && process.stderr.isTTY) progress.note(`\n${qrCode(addresses[0]!)}`);
      process.stderr.write(`\nopen ${addresses.join(' or ')}\nCtrl-C ends the lab\n\n`);
    },
    ...(browser && {
      async visit(address: string) {
        const { measureInBrowser } = await import('../../lab/browser.node.ts');
        const webgpu = runners.some(({ id, accelerator }) => accelerator === 'webgpu' && wanted.includes(id));
        await measureInBrowser(address, { webgpu, signal });
      },
    }),
  };
}

const listener = (progress: Progress): LabListener => ({
  joined: ({ name }) => progress.note(`${name} is here`),
  cell(device, cell) {
    const line = cellLine(device, cell);
    if (line) progress.note(line);
  },
  left: ({ name }, lost) =>
    progress.note(lost ? `${name} left before ${lost.variant.title} was measured` : `${name} is done`),
});

async function table(
  [model, ...more]: string[],
  file: string,
  options: Options,
  progress: Progress,
  at: Serving,
): Promise<void> {
  if (more.length > 0) throw new UserError('--latency-table takes one model, whose pieces are timed');
  const { measureTable } = await import('../../lab/table.node.ts');
  const threads = options.runners.includes('onnx-wasm-1') ? 'one' : 'many';
  const { precision } = options;
  const result = await measureTable(model!, {
    ...at,
    file,
    precision,
    threads,
    progress,
    listener: listener(progress),
  });
  print(
    options,
    result,
    () =>
      `${file}: ${result.points} times of ${result.pieces} pieces on ${result.device}, ${result.engine}, ${result.threads} threads`,
  );
}

function runnerList(text: string): string[] {
  const wanted = text.split(',');
  for (const id of wanted) {
    if (!runners.some((runner) => runner.id === id))
      throw new InvalidArgumentError(`There is no runner ${id}.`);
  }
  return wanted;
}
