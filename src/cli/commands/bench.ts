import { type Command, Option } from 'commander';
import { runtimeNamed, runtimes } from '../../export/formats.node.ts';
import { formatBench } from '../format.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  parse,
  print,
  progressFor,
  warnUnused,
  withCommonOptions,
} from '../options.ts';

interface Options extends CommonOptions {
  runtime: string;
  engine?: string;
  runs: number;
  warmup: number;
  batchSize: number;
}

/** The runtimes in which an integer engine can be chosen. */
const withEngines = runtimes
  .filter(({ engines }) => engines)
  .map(({ name }) => name)
  .join(' or ');

export function benchCommand(): Command {
  const bench = command('bench', 'Time models against each other, interleaved, each in its own process.', [
    'pqv bench deit/ pruned/ int8/',
    'pqv bench model.onnx model.ort --runs 100 --threads 1 --json',
    'pqv bench model.ptl --runtime pytorch --engine qnnpack',
  ])
    .argument('<models...>', 'folders or files')
    .addOption(
      new Option('--runtime <name>', 'what runs them here; natively on an Android device: pqv lab --adb')
        .choices(runtimes.map(({ name }) => name))
        .default(runtimes[0]!.name),
    )
    .addOption(
      new Option('--engine <name>', `integer engine of ${withEngines}`).choices(
        runtimes.flatMap(({ engines }) => engines ?? []),
      ),
    )
    .option('--runs <n>', 'timed runs of each', parse.integer(1), 50)
    .option('--warmup <n>', 'runs before timing starts', parse.integer(0), 5)
    .option('--batch-size <n>', 'images a run', parse.integer(1, 4096), 1);
  return withCommonOptions(bench).action(async (models: string[], options: Options) => {
    const { engines } = runtimeNamed(options.runtime);
    warnUnused(bench, { engine: !engines && `--runtime ${withEngines}` });
    const { benchModels } = await import('../../pipeline/commands/bench.node.ts');
    const progress = await progressFor(options);
    const results = await interruptible((signal) => benchModels(models, { ...options, progress, signal }));
    print(options, { results }, () => formatBench(results));
  });
}
