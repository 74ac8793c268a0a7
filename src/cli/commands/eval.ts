import type { Command } from 'commander';
import { formatAccuracy } from '../format.ts';
import {
  type CommonOptions,
  command,
  parse,
  print,
  progressFor,
  withCommonOptions,
  withDataOptions,
  withModelOptions,
  withProvider,
} from '../options.ts';

interface Options extends CommonOptions {
  data: string;
  batchSize: number;
  samples?: number;
}

export function evalCommand(): Command {
  const evaluate = command('eval', 'Measure accuracy on the held-out images of a data set.', [
    'pqv eval deit/ --data imagenet/',
    'pqv eval runs/demo/quantized --data mnist --json',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .option('--batch-size <n>', 'images at a time', parse.integer(1), 32)
    .option('--samples <n>', 'evaluate only this many held-out images', parse.integer(1));
  withDataOptions(evaluate);
  return withCommonOptions(withProvider(withModelOptions(evaluate))).action(
    async (model: string, options: Options) => {
      const { evaluateModel } = await import('../../pipeline/commands/eval.node.ts');
      const result = await evaluateModel(model, { ...options, progress: await progressFor(options) });
      print(options, result, () => formatAccuracy(result));
    },
  );
}
