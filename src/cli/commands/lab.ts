import { type Command, InvalidArgumentError, Option } from 'commander';
import { runners } from '../../lab/runners.ts';
import { formatBytes } from '../../report/format.ts';
import { cellLine, formatLab } from '../format-lab.ts';
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
  runners: string[];
  tflite: boolean;
}

export function labCommand(): Command {
  const lab = command(
    'lab',
    'Let phones and browsers measure the files of a run: serves a page, and gathers what they find.',
    ['pqv lab runs/mine --lan', 'pqv lab runs/mine model.tflite --runs 100'],
  )
    .argument('<runs...>', 'run directories of pqv optimize; single .onnx and .tflite files')
    .option('--lan', 'let other devices in, not only browsers of this machine')
    .option(
      '--http',
      'with --lan: plain HTTP, of which no browser warns; it gives a page there one thread and no WebGPU',
    )
    .option('--browser', 'measure in a headless Chromium of this machine, and end')
    .option('--port <n>', 'port to serve at; 0: any that is free', parse.integer(0, 65535), 0)
    .option('--runs <n>', 'timed runs of each file in each runtime at most', parse.integer(3, 100_000), 50)
    .option('--warmup <n>', 'runs before timing starts', parse.integer(1, 10_000), 15)
    .option(
      '--seconds <n>',
      'how long the timed runs may take, and those before them',
      parse.integer(1, 3600),
      20,
    )
    .addOption(
      new Option('--runners <list>', `ways to run the files: ${runners.map(({ id }) => id).join(', ')}`)
        .argParser(runnerList)
        .default([], 'all'),
    )
    .option('--no-tflite', 'only files that are there: write no .tflite files of stages that have none');
  return withCommonOptions(lab).action(async (sources: string[], options: Options) => {
    warnUnused(lab, { http: !options.lan && '--lan' });
    const [{ runLab }, { qrCode }] = await Promise.all([
      import('../../lab/lab.node.ts'),
      import('../../lab/qr-code.ts'),
    ]);
    const progress = await progressFor(options);
    const controller = new AbortController();
    const stop = () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
    const result = await runLab(sources, {
      ...options,
      lan: options.lan === true,
      http: options.http === true,
      progress,
      signal: controller.signal,
      opened({ addresses, variants, leftOut }) {
        for (const line of leftOut) progress.note(`left out: ${line}`);
        for (const { name, file, bytes } of variants)
          progress.note(`${name}: ${file}, ${formatBytes(bytes)}`);
        if (options.lan && process.stderr.isTTY) progress.note(`\n${qrCode(addresses[0]!)}`);
        if (!options.browser)
          process.stderr.write(`\nopen ${addresses.join(' or ')}\nCtrl-C ends the lab\n\n`);
      },
      ...(options.browser && { meanwhile: inBrowser(options, controller.signal) }),
      listener: {
        joined: ({ name }) => progress.note(`${name} is here`),
        cell(device, cell) {
          const line = cellLine(device, cell);
          if (line) progress.note(line);
        },
        left: ({ name }, lost) =>
          progress.note(lost ? `${name} left before ${lost.variant.title} was measured` : `${name} is done`),
      },
    });
    print(options, result, () => [formatLab(result.devices), ...result.reports].join('\n\n'));
  });
}

function inBrowser({ runners: wanted }: Options, signal: AbortSignal) {
  const webgpu = runners.some(({ id, accelerator }) => accelerator === 'webgpu' && wanted.includes(id));
  return async (address: string): Promise<void> => {
    const { measureInBrowser } = await import('../../lab/browser.node.ts');
    await measureInBrowser(address, { webgpu, signal });
  };
}

function runnerList(text: string): string[] {
  const wanted = text.split(',');
  for (const id of wanted) {
    if (!runners.some((runner) => runner.id === id))
      throw new InvalidArgumentError(`There is no runner ${id}.`);
  }
  return wanted;
}
